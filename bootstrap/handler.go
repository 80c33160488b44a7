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
		return builtin.NewLog(log), nil
	case scheme == "noop" && rest == "":
		return builtin.Noop{}, nil
	case scheme == "sleep":
		if d, err := time.ParseDuration(rest); err == nil && d >= 0 {
			return builtin.Sleep(d), nil
		}
	}
	return nil, &SettingError{"HANDLER", cfg.Handler, "log:, noop: or sleep: and a duration, such as sleep:3s"}
}
