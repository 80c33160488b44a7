package pgconn

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
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
	maps.Copy(cfg.Runtime, c.session())
	return cfg, nil
}

// session is the settings that every session relies on, whatever the server, the
// database or the role has for others.
//
// default_transaction_read_only is not among them: who sets it wants nothing written,
// which is an outage.
func (c Config) session() map[string]string {
	limits := c.Limits()
	return map[string]string{
		"timezone": "UTC",
		// A frozen dispatcher must not hold the rows of its sweep for long.
		"idle_in_transaction_session_timeout": "5s",
		// The server is to give up before the caller does, and to notice one who is gone.
		"lock_timeout":                     inMilliseconds(limits.Lock),
		"client_connection_check_interval": inMilliseconds(limits.Orphan),
		// It would cancel a wait for a synchronous standby, and report success.
		"statement_timeout":             "0",
		"default_transaction_isolation": "read committed",
		// No statement is to read a whole table, least of all by a plan that was made
		// when the table was small. What the planner then thinks that a small table
		// without an index costs would set off jit.
		"enable_seqscan": "off", "jit": "off",
	}
}

func inMilliseconds(d time.Duration) string { return fmt.Sprintf("%dms", max(1, d.Milliseconds())) }

// sessionSettings are the names of the settings that PgBouncer does not know of.
func sessionSettings() []string {
	names := slices.Sorted(maps.Keys(Config{}.session()))
	return slices.DeleteFunc(names, func(name string) bool { return name == "timezone" })
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
