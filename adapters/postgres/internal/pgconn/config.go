package pgconn

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
	"go.opentelemetry.io/otel/trace"
)

// Config says which database to use and how.
type Config struct {
	// URL is postgres://user:password@host:port/database?option=value with the
	// options of libpq that lib/pq knows. It may name several hosts, host:port
	// each, separated by commas; then the one that takes writes is used, unless
	// target_session_attrs says otherwise.
	URL string
	// MaxConns bounds the connections, besides two that only heartbeats use; 0: 10.
	MaxConns int
	// CallTimeout bounds the wait for a connection, and then each wait for the
	// server; 0: 5 s. It bounds the wait for a lock and for a synchronous standby
	// too, so it is not to be short.
	CallTimeout time.Duration
	// Traces gets a span of each statement that runs in a trace; nil: there are no traces.
	Traces trace.TracerProvider
}

// WithDefaults is c with every setting that is zero set to its default.
func (c Config) WithDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = 10
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = 5 * time.Second
	}
	return c
}

const wantURL = "want postgres://user:password@host:port/database"

// driverConfig makes the driver's configuration. No error of it holds a part of
// the URL that could be secret.
func (c Config) driverConfig() (pq.Config, error) {
	if c.MaxConns < 1 || c.CallTimeout <= 0 {
		return pq.Config{}, fmt.Errorf("postgres: MaxConns and CallTimeout must be positive, not %d and %s", c.MaxConns, c.CallTimeout)
	}
	u, err := url.Parse(c.URL)
	if err != nil { // its text quotes the URL
		return pq.Config{}, errors.New("postgres: the database URL is malformed: " + wantURL)
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return pq.Config{}, fmt.Errorf("postgres: the database URL has the scheme %q: %s", u.Scheme, wantURL)
	}
	if err := spreadHosts(u); err != nil {
		return pq.Config{}, err
	}
	cfg, err := pq.NewConfig(u.String())
	if err != nil {
		return pq.Config{}, fmt.Errorf("postgres: the database URL cannot be used: %s", redact(err.Error(), u))
	}

	if len(cfg.Multi) > 0 && cfg.TargetSessionAttrs == "" {
		cfg.TargetSessionAttrs = pq.TargetSessionAttrsReadWrite
	}
	// What a host may take is bounded here; see connector.go for several.
	if limit := c.Limits().Connect; cfg.ConnectTimeout <= 0 || cfg.ConnectTimeout > limit {
		cfg.ConnectTimeout = limit
	}
	cfg.ApplicationName = "millrace"
	cfg.BinaryParameters = true // one round trip for a statement instead of two
	if cfg.Runtime == nil {
		cfg.Runtime = map[string]string{}
	}
	maps.Copy(cfg.Runtime, startup)
	return cfg, nil
}

// spreadHosts turns host1:port1,host2:port2 into the options host and port, as
// lib/pq reads such an authority as one host. What is no port is not quoted: it
// is the password of a URL whose host is missing.
func spreadHosts(u *url.URL) error {
	if !strings.Contains(u.Host, ",") {
		return nil
	}
	var hosts, ports []string
	for part := range strings.SplitSeq(u.Host, ",") {
		host, port, err := net.SplitHostPort(part)
		if err != nil {
			host, port = part, "5432"
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return errors.New("postgres: the database URL has a host whose port is not a number: " + wantURL)
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	q := u.Query()
	q.Set("host", strings.Join(hosts, ","))
	q.Set("port", strings.Join(ports, ","))
	u.Host, u.RawQuery = "", q.Encode()
	return nil
}

// redact takes every secret of the URL out of a text.
func redact(text string, u *url.URL) string {
	secrets := []string{u.Query().Get("password"), u.Query().Get("sslkey")}
	if p, ok := u.User.Password(); ok {
		secrets = append(secrets, p, url.QueryEscape(p), url.PathEscape(p))
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "…")
		}
	}
	return text
}
