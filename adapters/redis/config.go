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
}

const (
	defaultPrefix      = "millrace:"
	defaultCallTimeout = 2 * time.Second
	maxPrefix          = 200
)

// target is a Config that was understood.
type target struct {
	address string
	tls     *tls.Config // nil: none
	prefix  string
	timeout time.Duration
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
	t.timeout = cmp.Or(cfg.CallTimeout, defaultCallTimeout)
	// Both must be set: redigo closes a connection whose context has ended while it
	// is in use, and notices by these deadlines.
	t.options = append(t.options, redigo.DialReadTimeout(t.timeout), redigo.DialWriteTimeout(t.timeout))
	return t, nil
}

func parseURL(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return target{}, errors.New("it is not a URL") // err quotes it
	}
	t := target{prefix: defaultPrefix}
	port := cmp.Or(u.Port(), "6379")
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return target{}, errors.New("it must start with redis:// or rediss://")
	case u.Opaque != "" || u.Hostname() == "":
		return target{}, errors.New("it names no host")
	case err != nil || n == 0:
		return target{}, errors.New("its port must be a number from 1 to 65535")
	case u.Fragment != "":
		return target{}, errors.New("it must not have a fragment (#); in a password, write %23")
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
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
	if password, ok := u.User.Password(); ok {
		t.options = append(t.options, redigo.DialUsername(u.User.Username()), redigo.DialPassword(password))
	} else {
		t.options = append(t.options, redigo.DialPassword(u.User.Username()))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return target{}, errors.New("its query is malformed")
	}
	for name, values := range query {
		if name != "prefix" || len(values) != 1 || values[0] == "" || len(values[0]) > maxPrefix {
			return target{}, fmt.Errorf("its query may have one prefix=, of 1 to %d bytes, and nothing else", maxPrefix)
		}
		t.prefix = values[0]
	}
	return t, nil
}
