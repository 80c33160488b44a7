package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi"
)

// AccessConfig says who may use the API.
type AccessConfig struct {
	APIKeys        string `env:"API_KEYS" help:"who may use the API: name=sha256 of the key, separated by commas or spaces; or @file with one pair a line" secret:"true"`
	AllowAnonymous bool   `env:"ALLOW_ANONYMOUS" envDefault:"false" help:"let anyone who reaches a public LISTEN_ADDR use the API, where there are no API_KEYS"`
}

const (
	wantKeys = "name=sha256 pairs separated by commas or spaces, or @ and a file with one pair a line"
	// maxKeysFile is far more than a thousand keys.
	maxKeysFile = 1 << 20
)

var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check reads the keys, and refuses an API that anyone can reach and use unless
// that is what its operator says.
func (c AccessConfig) check(listenAddr string) error {
	keys, err := c.credentials()
	if err != nil {
		return err
	}
	if len(keys) == 0 && !c.AllowAnonymous && !onLoopback(listenAddr) {
		return &SettingError{"LISTEN_ADDR", listenAddr,
			"on loopback, such as 127.0.0.1:8000, unless API_KEYS says who may use the API, or ALLOW_ANONYMOUS=true lets anyone"}
	}
	return nil
}

// credentials reads API_KEYS. Errors say where it is wrong and quote nothing: a
// key that was put there by mistake is a secret too.
func (c AccessConfig) credentials() ([]httpapi.Credential, error) {
	if c.APIKeys == "" {
		return nil, nil
	}
	wrong := func(why string) error {
		return &SettingError{"API_KEYS", hidden, wantKeys + ": " + why}
	}
	text, place := c.APIKeys, "pair"
	if path, ok := strings.CutPrefix(text, "@"); ok {
		content, err := readKeys(path)
		if err != nil {
			return nil, wrong(err.Error())
		}
		text, place = content, "line"
	}
	var pairs []string
	if place == "line" {
		pairs = strings.Split(text, "\n")
	} else {
		pairs = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	}
	var all []httpapi.Credential
	for i, pair := range pairs {
		pair = strings.TrimSpace(pair)
		if pair == "" || place == "line" && pair[0] == '#' {
			continue
		}
		credential, ok := readPair(pair)
		if !ok {
			return nil, wrong(fmt.Sprintf("%s %d is none; a name has 1 to 64 letters, digits, dots, dashes and underscores, a sha256 64 hexadecimal digits", place, i+1))
		}
		all = append(all, credential)
	}
	if len(all) == 0 {
		return nil, wrong("there is no pair")
	}
	return all, nil
}

func readPair(pair string) (httpapi.Credential, bool) {
	name, digest, _ := strings.Cut(pair, "=")
	c := httpapi.Credential{Name: strings.TrimSpace(name)}
	sum, err := hex.DecodeString(strings.TrimSpace(digest))
	if err != nil || len(sum) != sha256.Size || !credentialName.MatchString(c.Name) {
		return c, false
	}
	return c, copy(c.SHA256[:], sum) == sha256.Size
}

// readKeys reads the file. Its errors do not quote the path: API_KEYS may hold a
// key in its place.
func readKeys(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return "", fmt.Errorf("the file cannot be opened: %w", err)
	}
	defer f.Close() //nolint:errcheck // it is only read from
	content, err := io.ReadAll(io.LimitReader(f, maxKeysFile+1))
	switch {
	case err != nil:
		return "", errors.New("the file cannot be read")
	case len(content) > maxKeysFile:
		return "", fmt.Errorf("the file is over %d bytes", maxKeysFile)
	}
	return string(content), nil
}

// onLoopback reports whether only this machine reaches the address. A name other
// than localhost is not looked up: it may mean something else tomorrow.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
