package bootstrap

import (
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

// The settings, grouped by what they are about. A program's settings are the
// groups that it embeds.
type (
	// LogConfig is about logs.
	LogConfig struct {
		LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info" help:"lowest level that is logged: debug, info, warn or error" allowed:"debug, info, warn or error"`
	}

	// ServerConfig names the servers of a deployment.
	ServerConfig struct {
		DatabaseURL      string `env:"DATABASE_URL" envDefault:"postgres://millrace:millrace@127.0.0.1:5432/millrace?sslmode=disable" help:"PostgreSQL: postgres://user:password@host:port/database; several hosts: host1:port1,host2:port2" allowed:"a postgres:// URL" secret:"true"`
		DatabaseMaxConns int    `env:"DATABASE_MAX_CONNS" envDefault:"10" help:"maximum number of connections to PostgreSQL; a worker opens two more for its heartbeats" min:"2" max:"1000"`
		QueueURL         string `env:"QUEUE_URL" envDefault:"redis://127.0.0.1:6379/0" help:"Redis: redis://host:port/db or rediss://…; ?prefix= sets the prefix of its keys, which otherwise comes from the database's id" allowed:"a redis:// or rediss:// URL" secret:"true"`
	}

	// StoreConfig names the embedded store.
	StoreConfig struct {
		DatabaseURL string `env:"DATABASE_URL" envDefault:"sqlite:millrace.db" help:"the embedded store: sqlite:path/to/file" allowed:"sqlite: and the path of a file; cmd/api and cmd/worker are the programs for PostgreSQL" secret:"true"`
		QueueURL    string `env:"QUEUE_URL" envDefault:"memory:" help:"the queue: memory: is inside the process" allowed:"memory:; cmd/api and cmd/worker are the programs for Redis" secret:"true"`
	}

	// HTTPConfig is about the API.
	HTTPConfig struct {
		ListenAddr     string `env:"LISTEN_ADDR" envDefault:"127.0.0.1:8000" help:"address on which the API listens, host:port"`
		MaxMessageSize int    `env:"MAX_MESSAGE_BYTES" envDefault:"262144" help:"maximum length of a message, in bytes" min:"1" max:"16777216"`
		MaxBatchSize   int    `env:"MAX_BATCH_BYTES" envDefault:"16777216" help:"maximum length of the body of a batch request, in bytes" min:"1" max:"268435456"`
		MaxConnections int    `env:"MAX_CONNECTIONS" envDefault:"4000" help:"maximum number of open connections; at the limit, one without a request is closed for a new one" min:"1" max:"1000000"`
		MaxRequests    int    `env:"MAX_CONCURRENT_REQUESTS" envDefault:"1000" help:"maximum number of requests in progress; further ones are answered 503 at once" min:"1" max:"1000000"`
		MaxBodyBytes   int    `env:"MAX_CONCURRENT_BODY_BYTES" envDefault:"0" help:"maximum total length of the bodies of all requests in progress, in bytes; further requests wait up to 2 s and are then answered 503; 0: a sixteenth of the memory limit, at most 134217728" min:"0" max:"1073741824"`
		MaxWaiting     int    `env:"MAX_WAITING_REQUESTS" envDefault:"500" help:"maximum number of requests that wait for the database; further ones are answered 503 at once" min:"1" max:"1000000"`
		MaxWaiters     int    `env:"MAX_WAITERS" envDefault:"2000" help:"maximum number of requests that wait for a task to end; further ones are answered 503; of the other limits only MAX_CONNECTIONS counts them" min:"0" max:"1000000"`
	}

	// SubmitConfig is about new tasks.
	SubmitConfig struct {
		MaxAttempts int           `env:"MAX_ATTEMPTS" envDefault:"25" help:"number of failures after which a task has failed, for tasks without a max_attempts of their own" min:"1" max:"1000"`
		KeyLife     time.Duration `env:"IDEMPOTENCY_KEY_TTL" envDefault:"24h" help:"how long an Idempotency-Key is remembered" min:"1s" max:"8760h"`
	}

	// MigrateConfig is about the schema.
	MigrateConfig struct {
		MigrateOnStart bool `env:"MIGRATE_ON_START" envDefault:"true" help:"migrate the schema at start"`
	}

	// WorkConfig is about processing tasks.
	WorkConfig struct {
		Handler        string        // HANDLER, of which each program has its own default
		Queues         string        `env:"QUEUES" envDefault:"default" help:"queues that the worker pulls from, separated by commas; with weights: default=3,mail" allowed:"names of queues, with weights"`
		Handlers       string        `env:"HANDLERS" help:"handlers for single queues: queue=handler, one a line; HANDLER handles the others" secret:"true"`
		WebhookSecret  string        `env:"WEBHOOK_SECRET" help:"secret that signs webhook requests: whsec_…; two of them, separated by a comma, during a rotation" secret:"true"`
		WebhookTimeout time.Duration `env:"WEBHOOK_TIMEOUT" envDefault:"30s" help:"how long a webhook may take to answer; TASK_TIMEOUT, or the timeout of the task itself, limits it too" min:"100ms" max:"168h"`
		HandlerEnv     string        `env:"HANDLER_ENV" help:"names of further environment variables for programs (exec:), separated by commas; a name may end with *" allowed:"names of variables that are no settings of Millrace, separated by commas; a name may end with *"`
		Capacity       int           `env:"WORKER_QUEUE_MAXSIZE" envDefault:"100" help:"maximum number of tasks that a worker runs at once; it may hold as many again while it saves their outcomes; a slot is kept for each queue with nothing running, up to half of them" min:"1" max:"100000"`
		Lease          time.Duration `env:"LEASE_TIMEOUT" envDefault:"30s" help:"a worker without a heartbeat for this long is lost, and its tasks go to others; a worker sends one every tenth of this time" min:"1s" max:"1h"`
		TaskTimeout    time.Duration `env:"TASK_TIMEOUT" envDefault:"30m" help:"how long one attempt may run, for tasks without a timeout of their own" min:"100ms" max:"168h"`
		MaxAbandoned   int           `env:"MAX_ABANDONED_HANDLERS" envDefault:"0" help:"how many handlers that ignore the end of their context make a worker stop pulling; 0: as many as WORKER_QUEUE_MAXSIZE" min:"0" max:"100000"`
		RetryBase      time.Duration `env:"RETRY_BASE" envDefault:"1s" help:"maximum wait before the first retry; it doubles from retry to retry" min:"1ms" max:"24h"`
		RetryCap       time.Duration `env:"RETRY_CAP" envDefault:"20m" help:"maximum wait before any retry" min:"1ms" max:"168h"`
		MaxRescues     int           `env:"MAX_RESCUES" envDefault:"3" help:"a task has failed when it has lost its worker this often" min:"1" max:"1000"`
	}

	// HandlerConfig names the handler of a worker. There is no default: it would
	// complete tasks that nobody has handled.
	HandlerConfig struct {
		HandlerSetting string `env:"HANDLER" help:"how tasks are handled: a URL to post them to, exec:/path/program and its arguments, log: (logs them), log:3s (and takes 3 s for each), sleep:3s or noop:; required unless HANDLERS has one for every queue"`
	}

	// TrialHandlerConfig names the handler of the embedded program, which is the first
	// that one tries.
	TrialHandlerConfig struct {
		HandlerSetting string `env:"HANDLER" envDefault:"log:" help:"how tasks are handled: a URL to post them to, exec:/path/program and its arguments, log: (logs them), log:3s (and takes 3 s for each), sleep:3s or noop:"`
	}

	// AdminConfig is about a worker's own health.
	AdminConfig struct {
		AdminAddr string `env:"ADMIN_ADDR" help:"address on which a worker answers /healthz and /readyz, host:port; unset: it does not listen"`
	}

	// StopConfig is about the shutdown.
	StopConfig struct {
		ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s" help:"how long a stop waits for running tasks and requests" min:"0s" max:"1h"`
	}
)

// APIConfig are the settings of cmd/api.
type APIConfig struct {
	ServerConfig
	HTTPConfig
	SubmitConfig
	AccessConfig
	MigrateConfig
	StopConfig
	LogConfig
	TraceConfig
}

// WorkerConfig are the settings of cmd/worker.
type WorkerConfig struct {
	ServerConfig
	WorkConfig
	HandlerConfig
	AdminConfig
	StopConfig
	LogConfig
	TraceConfig
}

// EmbeddedConfig are the settings of cmd/millrace.
type EmbeddedConfig struct {
	StoreConfig
	HTTPConfig
	SubmitConfig
	AccessConfig
	WorkConfig
	TrialHandlerConfig
	StopConfig
	LogConfig
	TraceConfig
}

// LoadAPI reads the settings of cmd/api from NAME=value lines.
func LoadAPI(environ []string) (APIConfig, error) {
	cfg, err := load[APIConfig](environ)
	return cfg, firstOf(err, cfg.ServerConfig.check, cfg.HTTPConfig.check, func() error { return cfg.AccessConfig.check(cfg.ListenAddr) })
}

// LoadWorker reads the settings of cmd/worker from NAME=value lines.
func LoadWorker(environ []string) (WorkerConfig, error) {
	cfg, err := load[WorkerConfig](environ)
	cfg.Handler = cfg.HandlerSetting
	return cfg, firstOf(err, cfg.ServerConfig.check, cfg.WorkConfig.check,
		func() error { return cfg.checkHandlers(environ) }, cfg.AdminConfig.check)
}

// LoadWorkerWith is LoadWorker for a worker with a handler of the caller's: HANDLER and
// HANDLERS, which may be meant for another program and be wrong here, are not read.
func LoadWorkerWith(environ []string) (WorkerConfig, error) {
	cfg, err := load[WorkerConfig](withoutHandlers(environ))
	return cfg, firstOf(err, cfg.ServerConfig.check, cfg.WorkConfig.check, cfg.AdminConfig.check)
}

// LoadEmbedded reads the settings of cmd/millrace from NAME=value lines.
func LoadEmbedded(environ []string) (EmbeddedConfig, error) {
	cfg, err := load[EmbeddedConfig](environ)
	cfg.Handler = cfg.HandlerSetting
	return cfg, firstOf(err, cfg.StoreConfig.check, cfg.HTTPConfig.check, cfg.WorkConfig.check,
		func() error { return cfg.checkHandlers(environ) }, func() error { return cfg.AccessConfig.check(cfg.ListenAddr) })
}

// LoadEmbeddedWith is LoadEmbedded with a handler of the caller's, as LoadWorkerWith is
// LoadWorker.
func LoadEmbeddedWith(environ []string) (EmbeddedConfig, error) {
	cfg, err := load[EmbeddedConfig](withoutHandlers(environ))
	return cfg, firstOf(err, cfg.StoreConfig.check, cfg.HTTPConfig.check, cfg.WorkConfig.check,
		func() error { return cfg.AccessConfig.check(cfg.ListenAddr) })
}

// withoutHandlers is the environment without HANDLER and HANDLERS.
func withoutHandlers(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(line string) bool {
		return strings.HasPrefix(line, "HANDLER=") || strings.HasPrefix(line, "HANDLERS=")
	})
}

// DescribeAPI lists the settings of cmd/api.
func DescribeAPI() string { return describe[APIConfig]() }

// DescribeWorker lists the settings of cmd/worker.
func DescribeWorker() string { return describe[WorkerConfig]() }

// DescribeEmbedded lists the settings of cmd/millrace.
func DescribeEmbedded() string { return describe[EmbeddedConfig]() }

func firstOf(err error, checks ...func() error) error {
	for _, check := range checks {
		if err != nil {
			return err
		}
		err = check()
	}
	return err
}

func (c ServerConfig) check() error {
	if !hasScheme(c.DatabaseURL, "postgres", "postgresql") {
		return &SettingError{"DATABASE_URL", hidden, "a postgres:// URL"}
	}
	if !hasScheme(c.QueueURL, "redis", "rediss") {
		return &SettingError{"QUEUE_URL", hidden, "a redis:// or rediss:// URL"}
	}
	return nil
}

func (c StoreConfig) check() error {
	if path, ok := strings.CutPrefix(c.DatabaseURL, "sqlite:"); !ok || path == "" {
		return &SettingError{"DATABASE_URL", hidden, "sqlite: and the path of a file; cmd/api and cmd/worker are the programs for PostgreSQL"}
	}
	if c.QueueURL != "memory:" {
		return &SettingError{"QUEUE_URL", hidden, "memory:; cmd/api and cmd/worker are the programs for Redis"}
	}
	return nil
}

func (c HTTPConfig) check() error { return checkAddr("LISTEN_ADDR", c.ListenAddr) }

func (c AdminConfig) check() error {
	if c.AdminAddr == "" {
		return nil
	}
	return checkAddr("ADMIN_ADDR", c.AdminAddr)
}

func checkAddr(name, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return &SettingError{name, addr, "host:port, such as 127.0.0.1:8000"}
	}
	return nil
}

func (c WorkConfig) check() error {
	if c.RetryBase > c.RetryCap {
		return &SettingError{"RETRY_BASE", c.RetryBase.String(), "at most RETRY_CAP, which is " + c.RetryCap.String()}
	}
	if _, err := c.queues(); err != nil {
		return err
	}
	return firstOf(c.checkSecrets(), c.checkHandlerEnv)
}

// checkHandlers checks that every queue has a handler, and that they can be made.
func (c WorkConfig) checkHandlers(environ []string) error {
	if queue, missing, err := c.unhandled(); err != nil || missing {
		return firstOf(err, func() error { return withoutHandler(queue, environ) })
	}
	_, closeHandler, err := newHandler(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	closeHandler()
	return nil
}

// withoutHandler says that the queue has no handler. A name in the environment that is
// nearly that of a setting is the likely reason.
func withoutHandler(queue domain.QueueName, environ []string) error {
	why := []string{": queue " + string(queue) + " has no handler, neither here nor in HANDLERS"}
	for _, m := range misspelled(environ) {
		if m.means == "HANDLER" || m.means == "HANDLERS" {
			why = append(why, m.name+", which is set, is not a setting: is it "+m.means+"?")
		}
	}
	return &SettingError{"HANDLER", "", handlerAllowed + strings.Join(why, "; ")}
}

// hasScheme checks the scheme alone. The adapter reports what else is wrong with a URL,
// and net/url rejects one with several hosts.
func hasScheme(raw string, schemes ...string) bool {
	scheme, _, ok := strings.Cut(raw, "://")
	for _, s := range schemes {
		if ok && scheme == s {
			return true
		}
	}
	return false
}

// path is the file of the embedded store.
func (c StoreConfig) path() string { return strings.TrimPrefix(c.DatabaseURL, "sqlite:") }

// handlerGrace is how long a handler may take to return once its context has ended.
// The handler exec: needs two seconds of it, from SIGTERM to SIGKILL.
const handlerGrace = 3 * time.Second

// worker is the configuration of the worker.
func (c WorkConfig) worker(stop StopConfig) (worker.Config, error) {
	queues, err := c.queues()
	return worker.Config{
		Queues:   queues,
		Capacity: c.Capacity, Lease: c.Lease, TaskTimeout: c.TaskTimeout,
		HandlerGrace: handlerGrace, MaxAbandoned: c.MaxAbandoned, ShutdownTimeout: stop.ShutdownTimeout,
		Retry: domain.RetryPolicy{Base: c.RetryBase, Cap: c.RetryCap, MaxRescues: c.MaxRescues},
	}, err
}
