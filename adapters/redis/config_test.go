package redis

import (
	"strings"
	"testing"
)

func TestOpen_RefusesWhatItDoesNotUnderstandAndTellsNoSecret(t *testing.T) {
	const secret = "hunter2"
	for _, url := range []string{
		"", "memory:", "localhost:6379", "http://u:" + secret + "@h", "redis:u:" + secret + "@h", "redis://u:" + secret + "@", "redis://:6379",
		"redis://u:" + secret + "@h:0", "redis://u:" + secret + "@h:65536", "redis://u:" + secret + "@h:x", "redis://u:" + secret + "@h/x",
		"redis://u:" + secret + "@h/-1", "redis://u:" + secret + "@h/1/2", "redis://u:" + secret + "@h?timeout=1", "redis://u:" + secret + "@h?prefix=",
		"redis://u:" + secret + "@h?prefix=a&prefix=b", "redis://u:" + secret + "@h?%zz", "redis://u:" + secret + "@h#x", "redis://u:" + secret + "%zz@h",
		"redis://u:" + secret + "@h?prefix=" + strings.Repeat("x", 201), "redis://u:" + secret + "@h\x7f",
	} {
		_, _, err := Open(Config{URL: url})
		if err == nil {
			t.Errorf("%q was taken", url)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error gives the password away: %v", url, err)
		}
	}
	if _, _, err := Open(Config{URL: "redis://h", CallTimeout: -1}); err == nil {
		t.Error("a negative timeout was taken")
	}
}

func TestConfig_IsReadAsItIsMeant(t *testing.T) {
	for url, want := range map[string]struct {
		address, prefix string
		tls             bool
	}{
		"redis://localhost":                     {"localhost:6379", "millrace:", false},
		"redis://localhost/":                    {"localhost:6379", "millrace:", false},
		"redis://u:p@[::1]:7000/3?prefix=a%3Ab": {"[::1]:7000", "a:b", false},
		"rediss://:p@r.example:6380/0?prefix=x": {"r.example:6380", "x", true},
	} {
		got, err := Config{URL: url}.parse()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got.address != want.address || got.prefix != want.prefix || (got.tls != nil) != want.tls || got.limits.Call != defaultCallTimeout {
			t.Errorf("%s is read as %s, %q, TLS %v, %v", url, got.address, got.prefix, got.tls != nil, got.limits.Call)
		}
	}
}
