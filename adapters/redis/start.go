package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// probeKey is a list that only probes use.
const probeKey = "probe"

// probeSignal is of a kind that no listener knows: they skip it.
var probeSignal = encodeSignal(application.Signal{Kind: "probe", Tasks: make([]domain.TaskID, 1)})

// RefusedError says why a Redis cannot serve, whatever time passes. Its text is what
// the Redis would have to be.
type RefusedError struct {
	Needs string
	Cause error
}

// Error returns what is needed, and what Redis has answered.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s: it answered %q", e.Needs, e.Cause) }

// Unwrap returns the answer of Redis.
func (e *RefusedError) Unwrap() error { return e.Cause }

// clusterReplies are in the answers of a Redis in cluster mode.
var clusterReplies = []string{"MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "ERR SELECT is not allowed in cluster mode"}

func inCluster(answer redigo.Error) bool {
	return slices.ContainsFunc(clusterReplies, func(word string) bool { return starts(answer, word) })
}

func badCredentials(answer redigo.Error) bool {
	return slices.ContainsFunc([]string{"WRONGPASS", "NOAUTH", "ERR AUTH", "ERR invalid password"},
		func(word string) bool { return starts(answer, word) })
}

// Check tries every command that Millrace uses, on keys of its own, once. A *RefusedError
// says that this Redis cannot serve: it is in cluster mode, too old, or refuses the
// credentials or commands. Any other error is a domain.ErrUnavailable: it may serve later.
func (p *Pool) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.target.limits.Call)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return errorOf([]command{{name: "SELECT"}}, []any{err})
	}
	defer c.Close()
	commands := p.needed()
	replies, err := sendAll(ctx, c, commands)
	if err != nil {
		return fmt.Errorf("check Redis: %w", translate(err))
	}
	return errorOf(commands, replies)
}

// needed is each command that is used. The last subscribes, after which the connection
// takes no other.
func (p *Pool) needed() []command {
	key, other := p.key(probeKey), p.key(probeKey+":2") // of two slots, in a cluster
	channel := p.key(signalChannel)
	return []command{
		{"PING", nil},
		{"CLIENT", []any{"ID"}},
		{"CLIENT", []any{"UNBLOCK", 0, "TIMEOUT"}},
		{"RPUSH", []any{key, "a", "b", "c"}},
		{"LPUSH", []any{key, "d"}},
		{"LINDEX", []any{key, 0}},
		{"LREM", []any{key, 1, "d"}},
		{"TYPE", []any{key}},
		{"BLMPOP", []any{leastWait.Seconds(), 2, key, other, "LEFT", "COUNT", 1}},
		{"LMPOP", []any{2, key, other, "LEFT", "COUNT", maxPerCommand}},
		{"PUBLISH", []any{channel, probeSignal}},
		{"SUBSCRIBE", []any{channel}},
	}
}

// errorOf is what the replies to the commands mean: nil if all of them were carried out.
func errorOf(commands []command, replies []any) error {
	var away, denied, unknown error
	var deniedNames, unknownNames []string
	for i, reply := range replies {
		err, _ := reply.(error)
		answer, ok := errors.AsType[redigo.Error](err)
		switch {
		case err == nil:
		case !ok:
			away = err
		case inCluster(answer):
			return &RefusedError{"a Redis that is not in cluster mode (cluster-enabled no)", answer}
		case badCredentials(answer):
			return &RefusedError{"a Redis that accepts its user and password", answer}
		case starts(answer, "ERR DB index"):
			return &RefusedError{"a Redis that has this database", answer}
		case starts(answer, "NOPERM"):
			denied, deniedNames = answer, append(deniedNames, nameOf(commands[i]))
		case starts(answer, "ERR unknown command"), starts(answer, "ERR Unknown subcommand"):
			unknown, unknownNames = answer, append(unknownNames, nameOf(commands[i]))
		default:
			away = err
		}
	}
	switch {
	case unknown != nil:
		return &RefusedError{"a Redis 7.0 or later, with " + strings.Join(unknownNames, ", "), unknown}
	case denied != nil:
		return &RefusedError{"a Redis whose user may use " + strings.Join(deniedNames, ", ") + " with its keys and its channel", denied}
	case away != nil:
		return fmt.Errorf("check Redis: %w", translate(away))
	}
	return nil
}

// nameOf is the name of a command, with its subcommand.
func nameOf(c command) string {
	if c.name == "CLIENT" {
		return fmt.Sprintf("%s %s", c.name, c.args[0])
	}
	return c.name
}
