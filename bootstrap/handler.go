package bootstrap

import (
	"log/slog"
	"strings"
	"time"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/application"
)

// newHandler makes the handler that HANDLER names.
func newHandler(cfg WorkConfig, log *slog.Logger) (application.Handler, error) {
	scheme, rest, _ := strings.Cut(cfg.Handler, ":")
	switch {
	case scheme == "log" && rest == "":
		return builtin.NewLog(log, 0), nil
	case scheme == "log":
		if d, err := time.ParseDuration(rest); err == nil && d >= 0 {
			return builtin.NewLog(log, d), nil
		}
	case scheme == "noop" && rest == "":
		return builtin.Noop{}, nil
	case scheme == "sleep":
		if d, err := time.ParseDuration(rest); err == nil && d >= 0 {
			return builtin.Sleep(d), nil
		}
	}
	return nil, &SettingError{"HANDLER", cfg.Handler, "noop:, log:, or log: or sleep: and a duration, such as sleep:3s"}
}
