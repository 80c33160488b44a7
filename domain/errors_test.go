package domain_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

// wantCode fails the test unless err is a domain error of the code.
func wantCode(t *testing.T, err error, code domain.Code) {
	t.Helper()
	e, ok := errors.AsType[*domain.Error](err)
	if !ok || e.Code != code || e.Message == "" {
		t.Errorf("error is %#v; want code %s and a message", err, code)
	}
}

// wantInvalid fails the test unless err is CodeInvalid and names the field.
func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	wantCode(t, err, domain.CodeInvalid)
	e := domain.Public(err)
	if len(e.Fields) != 1 || e.Fields[0].Field != field || e.Fields[0].Detail == "" {
		t.Errorf("error is about %+v; want one detail about %q", e.Fields, field)
	}
}

func TestPublic_FindsTheErrorHoweverDeep(t *testing.T) {
	for name, err := range map[string]error{
		"bare":    domain.ErrTaskNotFound,
		"wrapped": fmt.Errorf("get: %w", fmt.Errorf("look up: %w", domain.ErrTaskNotFound)),
		"beside":  fmt.Errorf("%w: %w", domain.ErrTaskNotFound, io.EOF),
		"joined":  errors.Join(io.EOF, fmt.Errorf("get: %w", domain.ErrTaskNotFound)),
	} {
		if got := domain.Public(err); got != domain.ErrTaskNotFound {
			t.Errorf("%s: Public returns %#v", name, got)
		}
	}
}

func TestPublic_GivesNothingAwayOfOtherErrors(t *testing.T) {
	want := &domain.Error{Code: domain.CodeInternal, Message: "internal error"}
	for _, err := range []error{nil, io.EOF, fmt.Errorf("password=hunter2: %w", io.EOF)} {
		if diff := cmp.Diff(want, domain.Public(err)); diff != "" {
			t.Errorf("Public(%v) (-want +got):\n%s", err, diff)
		}
	}
}

func TestInvalid_NamesTheFieldForPeopleAndPrograms(t *testing.T) {
	want := &domain.Error{
		Code: domain.CodeInvalid, Message: "limit: must be at most 7",
		Fields: []domain.FieldError{{Field: "limit", Detail: "must be at most 7"}},
	}
	if diff := cmp.Diff(want, domain.Invalid("limit", "must be at most %d", 7)); diff != "" {
		t.Errorf("Invalid (-want +got):\n%s", diff)
	}
}

func TestErrors_AreToldApart(t *testing.T) {
	all := map[*domain.Error]domain.Code{
		domain.ErrTaskNotFound: domain.CodeNotFound,
		domain.ErrConflict:     domain.CodeConflict,
		domain.ErrAttemptLost:  domain.CodeConflict,
		domain.ErrWorkerStale:  domain.CodeConflict,
		domain.ErrUnavailable:  domain.CodeUnavailable,
	}
	for a, code := range all {
		wantCode(t, a, code)
		for b := range all {
			if got := errors.Is(fmt.Errorf("save: %w", a), b); got != (a == b) {
				t.Errorf("errors.Is(%q, %q) = %t", a, b, got)
			}
		}
	}
}

// The codes are part of the API.
func TestCodes_KeepTheirSpelling(t *testing.T) {
	got := []domain.Code{
		domain.CodeInvalid, domain.CodeTooLarge, domain.CodeNotFound,
		domain.CodeConflict, domain.CodeUnavailable, domain.CodeInternal,
	}
	want := []domain.Code{"invalid", "too_large", "not_found", "conflict", "unavailable", "internal"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}
