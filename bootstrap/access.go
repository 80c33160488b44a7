package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi"
)

// AccessConfig says who may use the API.
type AccessConfig struct {
	APIKeys        string   `env:"API_KEYS" help:"who may use the API: name=sha256 of the key, separated by commas or spaces; or @file with one pair a line" secret:"true"`
	AllowAnonymous bool     `env:"ALLOW_ANONYMOUS" envDefault:"false" help:"let anyone use the API on a public LISTEN_ADDR when there are no API_KEYS"`
	Metrics        string   `env:"METRICS" envDefault:"off" help:"whether LISTEN_ADDR answers /metrics, too: off, key (for those in API_KEYS) or public (for anyone)"`
	AllowedHosts   []string `env:"ALLOWED_HOSTS" help:"names that requests may use, besides localhost, the host of LISTEN_ADDR and IP addresses, separated by commas; requests for others are answered 421; *: any" allowed:"names or IP addresses without ports, separated by commas, or *"`
}

// The values of METRICS.
const (
	metricsOff    = "off"
	metricsKey    = "key"
	metricsPublic = "public"
)

const (
	wantKeys = "name=sha256 pairs separated by commas or spaces, or @ and a file with one pair a line"
	notAPair = "not a name=sha256 pair; a name has 1 to 64 letters, digits, dots, dashes and underscores, a sha256 has 64 hexadecimal digits"
	// maxKeysFile is far more than a thousand keys.
	maxKeysFile = 1 << 20
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?$`)

// isHost reports whether the text is what ALLOWED_HOSTS consists of.
func isHost(text string) bool {
	text = strings.TrimSpace(text)
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return text == httpapi.AnyHost || err == nil || hostName.MatchString(text)
}

var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check parses the keys, and refuses an API that anyone can reach and use, unless
// ALLOW_ANONYMOUS says so.
func (c AccessConfig) check(listenAddr string) error {
	if slices.ContainsFunc(c.AllowedHosts, func(host string) bool { return !isHost(host) }) {
		return &SettingError{"ALLOWED_HOSTS", strings.Join(c.AllowedHosts, ","), "names or IP addresses without ports, separated by commas, or *"}
	}
	keys, err := c.credentials()
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{metricsOff, metricsKey, metricsPublic}, c.Metrics):
		return &SettingError{"METRICS", c.Metrics, "off, key or public"}
	case c.Metrics == metricsKey && len(keys) == 0:
		return &SettingError{"METRICS", c.Metrics, "off or public, unless API_KEYS names who may use the API"}
	}
	if len(keys) == 0 && !c.AllowAnonymous && !onLoopback(listenAddr) {
		return &SettingError{"LISTEN_ADDR", listenAddr,
			"a loopback address, such as 127.0.0.1:8000, unless API_KEYS names who may use the API or ALLOW_ANONYMOUS=true lets anyone use it"}
	}
	return nil
}

// credentials parses API_KEYS. Errors name the position and quote nothing: a key that
// was put there by mistake is a secret too.
func (c AccessConfig) credentials() ([]httpapi.Credential, error) {
	if c.APIKeys == "" {
		return nil, nil
	}
	var all []httpapi.Credential
	var err error
	if path, ok := strings.CutPrefix(c.APIKeys, "@"); ok {
		all, err = parseFile(path)
	} else {
		all, err = parseInline(c.APIKeys)
	}
	if err == nil && len(all) == 0 {
		err = errors.New("there is no pair")
	}
	if err != nil {
		return nil, &SettingError{"API_KEYS", hidden, wantKeys + ": " + err.Error()}
	}
	return all, nil
}

// parseInline parses pairs that are separated by commas or white space.
func parseInline(text string) ([]httpapi.Credential, error) {
	var all []httpapi.Credential
	for i, pair := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		credential, ok := parsePair(pair)
		if !ok {
			return nil, fmt.Errorf("pair %d is %s", i+1, notAPair)
		}
		all = append(all, credential)
	}
	return all, nil
}

// parseFile parses a file with one pair a line; blank lines and those that begin with #
// are skipped.
func parseFile(path string) ([]httpapi.Credential, error) {
	text, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	var all []httpapi.Credential
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		credential, ok := parsePair(line)
		if !ok {
			return nil, fmt.Errorf("line %d is %s", i+1, notAPair)
		}
		all = append(all, credential)
	}
	return all, nil
}

func parsePair(pair string) (httpapi.Credential, bool) {
	name, digest, _ := strings.Cut(pair, "=")
	c := httpapi.Credential{Name: strings.TrimSpace(name)}
	sum, err := hex.DecodeString(strings.TrimSpace(digest))
	if err != nil || len(sum) != sha256.Size || !credentialName.MatchString(c.Name) {
		return c, false
	}
	return c, copy(c.SHA256[:], sum) == sha256.Size
}

// readKeys reads the file. Its errors do not quote the path, which may be a key that was
// put there by mistake.
func readKeys(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return "", fmt.Errorf("the file cannot be opened: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	content, err := io.ReadAll(io.LimitReader(f, maxKeysFile+1))
	switch {
	case err != nil:
		return "", errors.New("the file cannot be read")
	case len(content) > maxKeysFile:
		return "", fmt.Errorf("the file is over %d bytes", maxKeysFile)
	}
	return string(content), nil
}

// onLoopback reports whether only this machine reaches the address. A name other than
// localhost is not resolved: it may resolve to another address tomorrow.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
