package bootstrap

import (
	"log/slog"
	"math"
	"regexp"
	"runtime/debug"
	"strings"
)

// The line that a program logs at its start: what it is and what it works on, without
// secrets.

var plainServer = regexp.MustCompile(`^[A-Za-z0-9.,:\[\]_/-]*$`)

// serverOf is a URL without user, password and parameters. It is hidden if an @ in the
// parameters leaves open where the password ends.
func serverOf(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return hidden
	}
	rest, parameters, _ := strings.Cut(rest, "?")
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.Contains(parameters, "@") || !plainServer.MatchString(rest) {
		return hidden
	}
	return scheme + "://" + rest
}

// handlerInWords is a handler without what may be secret: the user and parameters of a
// URL, the arguments of a program.
func handlerInWords(value string) string {
	if hasScheme(value, "http", "https") {
		return serverOf(value)
	}
	if command, ok := strings.CutPrefix(value, "exec:"); ok {
		if words := strings.Fields(command); len(words) > 0 {
			return "exec:" + words[0]
		}
	}
	return value
}

// handlersInWords are the queues that a worker takes, with the handler of each.
func (c WorkConfig) handlersInWords() string {
	queues, _ := c.queues() // checked when the settings were loaded
	own, _ := c.handlers()
	all := make([]string, len(queues))
	for i, q := range queues {
		handler := c.Handler
		for _, h := range own {
			if h.queue == q.Name {
				handler = h.handler
			}
		}
		if handler = handlerInWords(handler); handler == "" {
			handler = "of the program"
		}
		all[i] = string(q.Name) + "=" + handler
	}
	return strings.Join(all, " ")
}

// common is what each start line says.
func common(address, store, queue string) []any {
	attrs := []any{slog.String("version", Version()), slog.String("address", address), slog.String("store", store), slog.String("queue", queue)}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		attrs = append(attrs, slog.Int64("memory_limit", limit))
	}
	return attrs
}

func (c APIConfig) startLine() []any {
	return common(c.ListenAddr, serverOf(c.DatabaseURL), serverOf(c.QueueURL))
}

func (c WorkerConfig) startLine() []any {
	return append(common(c.AdminAddr, serverOf(c.DatabaseURL), serverOf(c.QueueURL)), slog.String("handlers", c.handlersInWords()))
}

func (c EmbeddedConfig) startLine() []any {
	return append(common(c.ListenAddr, c.DatabaseURL, c.QueueURL), slog.String("handlers", c.handlersInWords()))
}
