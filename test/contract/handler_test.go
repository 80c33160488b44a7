package contract_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

// handlerFunc is a Go function as a handler.
type handlerFunc func(ctx context.Context, t *domain.Task) (string, error)

func (f handlerFunc) Handle(ctx context.Context, t *domain.Task) (string, error) { return f(ctx, t) }

// The port is one that a plain Go function keeps.
func TestHandler_HoldsForAGoFunction(t *testing.T) {
	t.Parallel()
	contract.Handler(t, func(_ *testing.T, b contract.Behaviour) application.Handler {
		return handlerFunc(func(ctx context.Context, task *domain.Task) (string, error) { return behave(ctx, task, b) })
	})
}

func behave(ctx context.Context, task *domain.Task, b contract.Behaviour) (string, error) {
	reason := errors.New(contract.HandlerReason)
	switch b {
	case contract.Echoes:
		return task.Message(), nil
	case contract.Names:
		return fmt.Sprintf("%s %d", task.ID(), task.Attempt()), nil
	case contract.Fails:
		return "", reason
	case contract.FailsAtOnce:
		return "", fmt.Errorf("write: %w", application.Permanent(reason))
	case contract.Postpones:
		return "", application.RetryAfter(reason, contract.HandlerWait)
	case contract.Hangs:
		<-ctx.Done()
		return "", context.Cause(ctx)
	case contract.Floods:
		return strings.Repeat(contract.HandlerFlood, contract.HandlerVolume), nil
	case contract.Garbles:
		return contract.HandlerGarbage, nil
	case contract.Rants:
		return "", errors.New(strings.Repeat(contract.HandlerGarbage+"\n", contract.HandlerVolume/len(contract.HandlerGarbage)))
	case contract.Lacks:
		return "", fmt.Errorf("connect: %w", application.NotStarted(reason))
	case contract.Panics:
		panic(contract.HandlerReason)
	}
	return "", fmt.Errorf("no behaviour: %s", b)
}
