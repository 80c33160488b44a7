package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	redigo "github.com/gomodule/redigo/redis"
)

// Config names a Redis.
type Config struct {
	// URL is redis:// or rediss:// (TLS), with [user:]password@ if need be, a host,
	// a port (6379), /database (0) and ?prefix=, which starts the name of every key
	// (millrace:). A user without a colon is a password, as for redis-cli.
	URL string
	// CallTimeout bounds every call, with its dialing: 2 seconds if it is zero. A
	// pull may take that much longer than its wait.
	CallTimeout time.Duration
	// AwaitPrefix: unless the URL has a prefix, Pool.SetPrefix sets it later, and
	// Signals.Listen waits for that.
	AwaitPrefix bool
}

const (
	defaultPort        = "6379"
	defaultPrefix      = "millrace:"
	defaultCallTimeout = 2 * time.Second
	maxPrefix          = 200
)

// target is a Config that was understood.
type target struct {
	address string
	tls     *tls.Config // nil: none
	prefix  string
	chosen  bool // the URL has the prefix
	limits  Limits
	options []redigo.DialOption
}

// parse reads cfg. Its errors quote nothing of the URL, which may hold a password.
func (cfg Config) parse() (target, error) {
	t, err := parseURL(cfg.URL)
	if err != nil {
		return target{}, fmt.Errorf("the URL of Redis: %w", err)
	}
	if cfg.CallTimeout < 0 {
		return target{}, errors.New("the call timeout of Redis is negative")
	}
	t.limits = cfg.Limits()
	// Both must be set: redigo closes a connection whose context has ended while it
	// is in use, and notices by these deadlines.
	t.options = append(t.options, redigo.DialReadTimeout(t.limits.Call), redigo.DialWriteTimeout(t.limits.Call))
	return t, nil
}

// parseURL reads a URL part by part. Its errors quote nothing of it.
func parseURL(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return target{}, errors.New("it is not a URL") // err quotes it
	}
	address, err := parseAddress(u)
	if err != nil {
		return target{}, err
	}
	prefix, err := parsePrefix(u.RawQuery)
	if err != nil {
		return target{}, err
	}
	t := target{address: address, prefix: cmp.Or(prefix, defaultPrefix), chosen: prefix != "", options: credentials(u.User)}
	if u.Scheme == "rediss" {
		t.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		db, err := strconv.ParseUint(path, 10, 16)
		if err != nil {
			return target{}, errors.New("its path must be the number of a database")
		}
		t.options = append(t.options, redigo.DialDatabase(int(db)))
	}
	return t, nil
}

// parseAddress returns the host and port that u names.
func parseAddress(u *url.URL) (string, error) {
	port := cmp.Or(u.Port(), defaultPort)
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return "", errors.New("it must start with redis:// or rediss://")
	case u.Opaque != "" || u.Hostname() == "":
		return "", errors.New("it names no host")
	case err != nil || n == 0:
		return "", errors.New("its port must be a number from 1 to 65535")
	case u.Fragment != "":
		return "", errors.New("it must not have a fragment (#); in a password, write %23")
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// credentials are the options that sign in. A user without a colon is a password.
func credentials(user *url.Userinfo) []redigo.DialOption {
	if password, ok := user.Password(); ok {
		return []redigo.DialOption{redigo.DialUsername(user.Username()), redigo.DialPassword(password)}
	}
	return []redigo.DialOption{redigo.DialPassword(user.Username())}
}

// parsePrefix returns the prefix of keys that the query of a URL sets; empty: none.
func parsePrefix(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", errors.New("its query is malformed")
	}
	prefix := values["prefix"]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || len(prefix) != 1 || prefix[0] == "" || len(prefix[0]) > maxPrefix:
		return "", fmt.Errorf("its query may have one prefix=, of 1 to %d bytes, and nothing else", maxPrefix)
	}
	return prefix[0], nil
}
