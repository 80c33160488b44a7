package bootstrap

import (
	"log/slog"
	"net"
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
		LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info" help:"least level that is logged: debug, info, warn or error" allowed:"debug, info, warn or error"`
	}

	// ServerConfig names the servers of a deployment.
	ServerConfig struct {
		DatabaseURL      string `env:"DATABASE_URL" envDefault:"postgres://millrace:millrace@127.0.0.1:5432/millrace?sslmode=disable" help:"PostgreSQL: postgres://user:password@host:port/database; several hosts: host1:port1,host2:port2" allowed:"a postgres:// URL" secret:"true"`
		DatabaseMaxConns int    `env:"DATABASE_MAX_CONNS" envDefault:"10" help:"most connections to PostgreSQL, besides two for a worker's heartbeats" min:"2" max:"1000"`
		QueueURL         string `env:"QUEUE_URL" envDefault:"redis://127.0.0.1:6379/0" help:"Redis: redis://host:port/db or rediss://…; ?prefix= sets the prefix of its keys" allowed:"a redis:// or rediss:// URL" secret:"true"`
	}

	// StoreConfig names the embedded store.
	StoreConfig struct {
		DatabaseURL string `env:"DATABASE_URL" envDefault:"sqlite:millrace.db" help:"the embedded store: sqlite:path/to/file" allowed:"sqlite: and the path of a file; cmd/api and cmd/worker are the programs for PostgreSQL" secret:"true"`
		QueueURL    string `env:"QUEUE_URL" envDefault:"memory:" help:"the queue: memory: is inside the process" allowed:"memory:; cmd/api and cmd/worker are the programs for Redis" secret:"true"`
	}

	// HTTPConfig is about the API.
	HTTPConfig struct {
		ListenAddr     string `env:"LISTEN_ADDR" envDefault:"127.0.0.1:8000" help:"where the API listens, host:port"`
		MaxMessageSize int    `env:"MAX_MESSAGE_BYTES" envDefault:"262144" help:"longest message, in bytes" min:"1" max:"16777216"`
		MaxBatchSize   int    `env:"MAX_BATCH_BYTES" envDefault:"16777216" help:"longest body of a request for many tasks, in bytes" min:"1" max:"268435456"`
		MaxConnections int    `env:"MAX_CONNECTIONS" envDefault:"4000" help:"most open connections; one without a request makes room for a new one" min:"1" max:"1000000"`
		MaxRequests    int    `env:"MAX_CONCURRENT_REQUESTS" envDefault:"1000" help:"most requests under way at once; more are answered 503 at once" min:"1" max:"1000000"`
		MaxWaiting     int    `env:"MAX_WAITING_REQUESTS" envDefault:"500" help:"most requests that wait for the database at once; more are answered 503 at once" min:"1" max:"1000000"`
		MaxWaiters     int    `env:"MAX_WAITERS" envDefault:"2000" help:"most requests that wait for a task to change at once, which count towards no other bound but MAX_CONNECTIONS; more are answered 503" min:"0" max:"1000000"`
	}

	// SubmitConfig is about new tasks.
	SubmitConfig struct {
		MaxAttempts int           `env:"MAX_ATTEMPTS" envDefault:"10" help:"failures that make a task failed, for tasks that do not say" min:"1" max:"1000"`
		KeyLife     time.Duration `env:"IDEMPOTENCY_KEY_TTL" envDefault:"24h" help:"how long an Idempotency-Key is remembered" min:"1s" max:"8760h"`
	}

	// MigrateConfig is about the schema.
	MigrateConfig struct {
		MigrateOnStart bool `env:"MIGRATE_ON_START" envDefault:"true" help:"bring the schema up to date at start"`
	}

	// WorkConfig is about processing tasks.
	WorkConfig struct {
		Handler       string        `env:"HANDLER" envDefault:"log:" help:"what does the work: log:, log:3s (and takes so long), sleep:3s, noop:, a URL that tasks are posted to, or exec:/path/program and its arguments"`
		Queues        string        `env:"QUEUES" envDefault:"default" help:"queues that the worker takes, separated by commas; with weights: default=3,mail" allowed:"names of queues with weights"`
		Handlers      string        `env:"HANDLERS" help:"handlers of single queues: queue=handler, one a line; HANDLER is for the rest" secret:"true"`
		WebhookSecret string        `env:"WEBHOOK_SECRET" help:"signs what is posted to a URL: whsec_…; two, separated by a comma, while one replaces the other" secret:"true"`
		Capacity      int           `env:"WORKER_QUEUE_MAXSIZE" envDefault:"100" help:"most tasks that a worker runs at once; while outcomes are saved it may hold as many again" min:"1" max:"100000"`
		Lease         time.Duration `env:"LEASE_TIMEOUT" envDefault:"30s" help:"a worker silent for this long is lost, and its tasks go to others; it beats every tenth of it" min:"1s" max:"1h"`
		TaskTimeout   time.Duration `env:"TASK_TIMEOUT" envDefault:"30m" help:"how long one attempt may run" min:"100ms" max:"168h"`
		RetryBase     time.Duration `env:"RETRY_BASE" envDefault:"1s" help:"longest wait before the first retry; it doubles from retry to retry" min:"1ms" max:"24h"`
		RetryCap      time.Duration `env:"RETRY_CAP" envDefault:"10m" help:"longest wait before any retry" min:"1ms" max:"168h"`
		MaxRescues    int           `env:"MAX_RESCUES" envDefault:"3" help:"a task that lost its worker this often has failed" min:"1" max:"1000"`
	}

	// AdminConfig is about a worker's own health.
	AdminConfig struct {
		AdminAddr string `env:"ADMIN_ADDR" help:"where a worker answers /healthz and /readyz, host:port; none: nowhere"`
	}

	// StopConfig is about the end.
	StopConfig struct {
		ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s" help:"how long a stop waits for what runs" min:"0s" max:"1h"`
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
}

// WorkerConfig are the settings of cmd/worker.
type WorkerConfig struct {
	ServerConfig
	WorkConfig
	AdminConfig
	StopConfig
	LogConfig
}

// EmbeddedConfig are the settings of cmd/millrace.
type EmbeddedConfig struct {
	StoreConfig
	HTTPConfig
	SubmitConfig
	AccessConfig
	WorkConfig
	StopConfig
	LogConfig
}

// LoadAPI reads the settings of cmd/api from NAME=value lines.
func LoadAPI(environ []string) (APIConfig, error) {
	cfg, err := load[APIConfig](environ)
	return cfg, firstOf(err, cfg.ServerConfig.check, cfg.HTTPConfig.check, func() error { return cfg.AccessConfig.check(cfg.ListenAddr) })
}

// LoadWorker reads the settings of cmd/worker from NAME=value lines.
func LoadWorker(environ []string) (WorkerConfig, error) {
	cfg, err := load[WorkerConfig](environ)
	return cfg, firstOf(err, cfg.ServerConfig.check, cfg.WorkConfig.check, cfg.AdminConfig.check)
}

// LoadEmbedded reads the settings of cmd/millrace from NAME=value lines.
func LoadEmbedded(environ []string) (EmbeddedConfig, error) {
	cfg, err := load[EmbeddedConfig](environ)
	return cfg, firstOf(err, cfg.StoreConfig.check, cfg.HTTPConfig.check, cfg.WorkConfig.check,
		func() error { return cfg.AccessConfig.check(cfg.ListenAddr) })
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
	if _, err := c.queues(); err != nil {
		return err
	}
	if err := c.checkSecrets(); err != nil {
		return err
	}
	_, closeHandler, err := newHandler(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	closeHandler()
	return nil
}

// hasScheme looks at the scheme alone: what else is wrong with a URL its adapter
// says, and a URL of several hosts is none to net/url.
func hasScheme(raw string, schemes ...string) bool {
	scheme, _, ok := strings.Cut(raw, "://")
	for _, s := range schemes {
		if ok && scheme == s {
			return true
		}
	}
	return false
}

// path is where the embedded store is.
func (c StoreConfig) path() string { return strings.TrimPrefix(c.DatabaseURL, "sqlite:") }

// handlerGrace is how long a handler may take to return once its context has ended.
// A program that is run gets two seconds between SIGTERM and SIGKILL.
const handlerGrace = 3 * time.Second

// worker is what the application wants to know.
func (c WorkConfig) worker(stop StopConfig) (worker.Config, error) {
	queues, err := c.queues()
	return worker.Config{
		Queues:   queues,
		Capacity: c.Capacity, Lease: c.Lease, TaskTimeout: c.TaskTimeout,
		HandlerGrace: handlerGrace, ShutdownTimeout: stop.ShutdownTimeout,
		Retry: domain.RetryPolicy{Base: c.RetryBase, Cap: c.RetryCap, MaxRescues: c.MaxRescues},
	}, err
}
