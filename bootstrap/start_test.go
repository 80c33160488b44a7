package bootstrap

import (
	"fmt"
	"strings"
	"testing"
)

func TestStartLine_SaysWhatTheProgramIsWithoutSecrets(t *testing.T) {
	servers := []string{"DATABASE_URL=postgres://u:s3cret@one:5432,two:5433/db?password=s3cret", "QUEUE_URL=rediss://:s3cret@three:6379/1?prefix=s3cret"}
	worker, err := LoadWorker(append(servers, "QUEUES=default,mail,slow", "HANDLER=https://u:s3cret@four/tasks?key=s3cret",
		"HANDLERS=mail=exec:sh -c 's3cret'\nslow=sleep:3s", "ADMIN_ADDR=127.0.0.1:9090"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := LoadAPI(servers)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := LoadEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line []any
		want []string
	}{
		{worker.startLine(), []string{Version(), "127.0.0.1:9090", "three:6379/1", "default=https://four/tasks mail=exec:sh slow=sleep:3s"}},
		{api.startLine(), []string{Version(), "127.0.0.1:8000", "three:6379/1"}},
		{embedded.startLine(), []string{"sqlite:millrace.db", "memory:", "default=log:"}},
	} {
		line := fmt.Sprint(c.line...)
		for _, want := range c.want {
			if !strings.Contains(line, want) || strings.Contains(line, "s3cret") {
				t.Errorf("%s: want %q", line, want)
			}
		}
	}
	if got := serverOf("postgres://u:s3cret?s3cret@one/db"); got != hidden {
		t.Error(got)
	}
	if got := serverOf("postgres://u:s3cret@one:5432,two:5433/db?sslmode=disable"); got != "postgres://one:5432,two:5433/db" {
		t.Error(got)
	}
}
