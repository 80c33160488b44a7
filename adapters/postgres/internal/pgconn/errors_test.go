package pgconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/millrace/millrace/domain"
)

func TestTranslate(t *testing.T) {
	state := func(code pqerror.Code) error { return fmt.Errorf("wrapped: %w", &pq.Error{Code: code, Message: "no"}) }
	for name, check := range map[string]struct {
		err  error
		want error // nil: an internal error
	}{
		"no rows":                         {sql.ErrNoRows, domain.ErrTaskNotFound},
		"refused":                         {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, domain.ErrUnavailable},
		"reset":                           {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, domain.ErrUnavailable},
		"stalled":                         {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, domain.ErrUnavailable},
		"closed by the server":            {io.ErrUnexpectedEOF, domain.ErrUnavailable},
		"bad connection":                  {driver.ErrBadConn, domain.ErrUnavailable},
		"no free connection":              {context.DeadlineExceeded, domain.ErrUnavailable},
		"connection exception":            {state("08006"), domain.ErrUnavailable},
		"too many connections":            {state("53300"), domain.ErrUnavailable},
		"shutting down":                   {state("57P01"), domain.ErrUnavailable},
		"starting up":                     {state("57P03"), domain.ErrUnavailable},
		"read-only standby":               {state("25006"), domain.ErrUnavailable},
		"standby, BEGIN":                  {state("0A000"), domain.ErrUnavailable},
		"no schema yet":                   {state("42P01"), domain.ErrUnavailable},
		"deadlock that goes on":           {state("40P01"), domain.ErrUnavailable},
		"serialization failure":           {state("40001"), domain.ErrUnavailable},
		"ours already":                    {fmt.Errorf("x: %w", domain.ErrConflict), domain.ErrConflict},
		"the caller went away":            {context.Canceled, nil},
		"a doubled key":                   {state("23505"), domain.ErrRefused},
		"a check":                         {state("23514"), domain.ErrRefused},
		"a text too long to index":        {state("54000"), domain.ErrRefused},
		"a trigger's refusal":             {state("P0001"), domain.ErrRefused},
		"a view's check":                  {state("44000"), domain.ErrRefused},
		"a wrong encoding":                {state("22P05"), domain.ErrRefused},
		"a lock held for long":            {state("55P03"), domain.ErrUnavailable},
		"a missing right":                 {state("42501"), domain.ErrUnavailable},
		"a missing column":                {state("42703"), domain.ErrUnavailable},
		"no database any more":            {state("3D000"), domain.ErrUnavailable},
		"no schema any more":              {state("3F000"), domain.ErrUnavailable},
		"a full disk":                     {state("53100"), domain.ErrUnavailable},
		"a damaged page":                  {state("XX001"), domain.ErrUnavailable},
		"an internal error":               {state("XX000"), domain.ErrUnavailable},
		"a file that is gone":             {state("58P01"), domain.ErrUnavailable},
		"a setting that is unknown":       {state("42704"), domain.ErrUnavailable},
		"a doubled statement":             {state("42P05"), domain.ErrUnavailable},
		"a lost statement":                {state("26000"), domain.ErrUnavailable},
		"idle for too long":               {state("25P03"), domain.ErrUnavailable},
		"a transaction too long":          {state("25P04"), domain.ErrUnavailable},
		"a new password":                  {state("28P01"), domain.ErrUnavailable},
		"a password that was never right": {&refusedError{state("28P01")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := Translate(check.err)
			if !errors.Is(got, check.err) && check.want != domain.ErrTaskNotFound {
				t.Errorf("%v has lost its cause", got)
			}
			if check.want != nil && !errors.Is(got, check.want) {
				t.Errorf("Translate = %v, want %v", got, check.want)
			}
			if check.want == nil && domain.Public(got).Code != domain.CodeInternal {
				t.Errorf("Translate = %v, want an internal error", got)
			}
		})
	}
	if Translate(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestRead_ACallerWhoGivesUpIsNoOutage(t *testing.T) {
	t.Parallel()
	pool := open(t, 1)
	ctx, giveUp := context.WithCancel(t.Context())
	defer time.AfterFunc(200*time.Millisecond, giveUp).Stop()
	err := pool.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		var slept []string
		return sqlx.SelectContext(ctx, q, &slept, "SELECT pg_sleep(10)::text")
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestAtStart_NamesWhatWaitingDoesNotHelp(t *testing.T) {
	for code, waits := range map[pqerror.Code]bool{
		"28P01": false, "28000": false, "3D000": false, "3F000": false, "42501": false, "42703": false,
		"42P01": true, "42P05": true, "57P03": true, "53300": true, "55P03": true, "25006": true,
	} {
		err := AtStart(Translate(&pq.Error{Code: code, Message: "no"}))
		if got := errors.Is(err, domain.ErrUnavailable); got != waits {
			t.Errorf("at the start, %s is waited for: %v, want %v", code, got, waits)
		}
	}
}

func TestOutage_SaysItOnce(t *testing.T) {
	err := Translate(Outage(Outage(driver.ErrBadConn)))
	if want := "postgres: " + driver.ErrBadConn.Error(); err.Error() != want || !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%q, want an outage %q", err, want)
	}
}
