package e2e

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/millrace/millrace/test/programs"
)

// receive starts the receiver of the examples with the secrets and returns its URL.
func receive(t *testing.T, secrets ...string) string {
	t.Helper()
	watchExamples(t)
	addr := programs.FreeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "python3", "../../examples/receiver.py", port)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "WEBHOOK_SECRET=" + strings.Join(secrets, ",")}
	if err := cmd.Start(); err != nil {
		t.Fatalf("the receiver needs python3: %v", err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() }) // killed
	programs.Eventually(t, programs.Patience, "the receiver listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "http://" + addr + "/"
}

func TestReceiver_TakesFreshRequestsOfThoseWhoHaveASecret(t *testing.T) {
	t.Parallel()
	secret := func(fill string) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 24)))
	}
	url := receive(t, secret("a"), secret("b"))
	for name, c := range map[string]struct {
		secrets []string
		age     time.Duration
		sent    string
		want    int
	}{
		"the first secret":          {[]string{"a"}, 0, "hello", http.StatusOK},
		"the second secret":         {[]string{"b"}, 0, "hello", http.StatusOK},
		"one that it does not know": {[]string{"c", "a"}, 0, "hello", http.StatusOK},
		"another secret":            {[]string{"c"}, 0, "hello", http.StatusUnauthorized},
		"no signature":              {nil, 0, "hello", http.StatusUnauthorized},
		"another body":              {[]string{"a"}, 0, "hallo", http.StatusUnauthorized},
		"a little old":              {[]string{"a"}, 4 * time.Minute, "hello", http.StatusOK},
		"a replay":                  {[]string{"a"}, 6 * time.Minute, "hello", http.StatusUnauthorized},
		"from the future":           {[]string{"a"}, -6 * time.Minute, "hello", http.StatusUnauthorized},
	} {
		at := time.Now().Add(-c.age)
		var signatures []string
		for _, fill := range c.secrets {
			signer, err := standardwebhooks.NewWebhook(secret(fill))
			if err != nil {
				t.Fatal(err)
			}
			signature, err := signer.Sign("an id", at, []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			signatures = append(signatures, signature)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(c.sent))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("webhook-id", "an id")
		req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		req.Header.Set("webhook-signature", strings.Join(signatures, " "))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.want || c.want == http.StatusOK && string(body) != "HELLO" {
			t.Errorf("%s: %d %q, not %d; error %v", name, res.StatusCode, body, c.want, err)
		}
	}
}
