package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// retryAfter is how long a client should wait, in seconds, while a store is away
// or the service is busy.
const retryAfter = "2"

// problemKind is a type of problem documents (RFC 9457). The code is the end of
// its type and never changes.
type problemKind struct {
	code    string
	status  int
	title   string
	meaning string
}

var (
	malformed = problemKind{"malformed", http.StatusBadRequest, "Malformed request",
		"The request is malformed, or could be read in more than one way: invalid JSON, trailing data, duplicate names, bytes that are not UTF-8, a query that is not correctly percent-encoded, or an id that is not a UUID."}
	unauthorized = problemKind{"unauthorized", http.StatusUnauthorized, "Unauthorized",
		"The request has no API key, or an unknown one. Keys come from the service's operator; send yours as Authorization: Bearer KEY."}
	crossOrigin = problemKind{"cross_origin", http.StatusForbidden, "Cross-origin request",
		"A browser sent this request for a page of another site. Such pages may not change anything here; other programs may."}
	misdirected = problemKind{"misdirected", http.StatusMisdirectedRequest, "Misdirected request",
		"The Host header has a name that is not this service's. Use its IP address or a name of its own, or have its operator add the host to ALLOWED_HOSTS."}
	notFound = problemKind{"not_found", http.StatusNotFound, "Not found",
		"There is no such task, queue or bulk action; detail says which."}
	noSuchPath = problemKind{"no_such_path", http.StatusNotFound, "No such path",
		"Nothing is served at this path. Paths are exact: a double or trailing slash matters."}
	methodNotAllowed = problemKind{"method_not_allowed", http.StatusMethodNotAllowed, "Method not allowed",
		"The path does not support this method; the Allow header lists those it supports."}
	notAcceptable = problemKind{"not_acceptable", http.StatusNotAcceptable, "Not acceptable",
		"The Accept header excludes every media type that the path can answer with."}
	requestTimeout = problemKind{"request_timeout", http.StatusRequestTimeout, "Request timeout",
		"The body did not arrive in time. Send it again."}
	conflict = problemKind{"conflict", http.StatusConflict, "Conflict",
		"The task's state does not allow the change. Read the task, then decide again."}
	changed = problemKind{"changed", http.StatusPreconditionFailed, "Precondition failed",
		"The task is not at a version that If-Match names. Read the task, then decide again."}
	gone = problemKind{"gone", http.StatusGone, "Gone",
		"The Idempotency-Key was already used with the same request, and something that it created, a task or a bulk action, has since been deleted; detail names it. Nothing was done: to submit the request again, use a new key."}
	tooLarge = problemKind{"too_large", http.StatusRequestEntityTooLarge, "Too large",
		"The message, or the body as a whole, is over the limit that the operator has set."}
	unsupportedMediaType = problemKind{"unsupported_media_type", http.StatusUnsupportedMediaType, "Unsupported media type",
		"The body is not JSON in UTF-8, or is compressed."}
	invalid = problemKind{"invalid", http.StatusUnprocessableEntity, "Invalid request",
		"The request is well-formed but invalid. errors names each part that is wrong."}
	tooMuch = problemKind{"too_much", http.StatusUnprocessableEntity, "Too much asked",
		"The request asks for more than the database can do in time. Sending it again will not help: detail says how to ask for less."}
	keyReused = problemKind{"idempotency_key_reused", http.StatusUnprocessableEntity, "Idempotency key reused",
		"The Idempotency-Key was already used with a different request. Nothing was done: use a new key for each request."}
	refused = problemKind{"refused", http.StatusUnprocessableEntity, "Refused by the database",
		"The database refuses what was to be stored, such as by a CHECK or a trigger that its operator has added. Nothing was done, and sending the request again will not help: the service's log has what the database said."}
	damaged = problemKind{"damaged", http.StatusInternalServerError, "Damaged record",
		"The record in the database is in a state that the service never leaves: somebody else has changed it. detail says what is wrong. Nothing was done; the operator has to put the record right, or to delete it."}
	internal = problemKind{"internal", http.StatusInternalServerError, "Internal error",
		"A defect in the service. It has been logged; sending the request again is unlikely to help."}
	unavailable = problemKind{"unavailable", http.StatusServiceUnavailable, "Unavailable",
		"The database is not responding. It is unknown whether a change was made: read the task, and try again after Retry-After seconds. With an Idempotency-Key, sending the same request again is safe."}
	overloaded = problemKind{"overloaded", http.StatusServiceUnavailable, "Overloaded",
		"The service receives more requests than it can handle. Nothing was done: send the same request again after Retry-After seconds."}
)

// problemKinds lists them all, for /problems.
var problemKinds = []problemKind{
	malformed, unauthorized, crossOrigin, misdirected, notFound, noSuchPath, methodNotAllowed, notAcceptable, requestTimeout, conflict, changed, gone, tooLarge,
	unsupportedMediaType, invalid, tooMuch, keyReused, refused, damaged, internal, unavailable, overloaded,
}

// kindOf is the problem that each code of the domain is.
var kindOf = map[domain.Code]problemKind{
	domain.CodeInvalid:     invalid,
	domain.CodeTooLarge:    tooLarge,
	domain.CodeNotFound:    notFound,
	domain.CodeConflict:    conflict,
	domain.CodeChanged:     changed,
	domain.CodeGone:        gone,
	domain.CodeKeyReused:   keyReused,
	domain.CodeTooMuch:     tooMuch,
	domain.CodeUnavailable: unavailable,
	domain.CodeRefused:     refused,
	domain.CodeDamaged:     damaged,
	domain.CodeInternal:    internal,
}

func (k problemKind) uri() string { return "/problems/" + k.code }

// errorf makes a problem of this kind.
func (k problemKind) errorf(format string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(format, args...)}
}

// maxDetails is how many wrong parts the detail of a problem has in words.
const maxDetails = 10

// withErrors makes a problem that names wrong parts of the request.
func (k problemKind) withErrors(errs ...api.ProblemError) *problem {
	slices.SortStableFunc(errs, func(a, b api.ProblemError) int {
		return cmp.Or(cmp.Compare(a.Parameter, b.Parameter), comparePointers(a.Pointer, b.Pointer))
	})
	var details []string
	for _, e := range errs[:min(len(errs), maxDetails)] {
		detail := e.Detail
		if name := cmp.Or(e.Parameter, strings.TrimPrefix(e.Pointer, "/")); name != "" {
			detail = name + ": " + e.Detail
		}
		details = append(details, detail)
	}
	if more := len(errs) - len(details); more > 0 {
		details = append(details, fmt.Sprintf("and %d more", more))
	}
	return &problem{kind: k, detail: strings.Join(details, "; "), errors: errs}
}

// comparePointers puts pointers in the order of the document: those into an array
// by number.
func comparePointers(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(x, y string) int {
		m, errM := strconv.Atoi(x)
		n, errN := strconv.Atoi(y)
		if errM == nil && errN == nil {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(x, y)
	})
}

// problem is an error with its problem document.
type problem struct {
	kind   problemKind
	detail string
	errors []api.ProblemError
}

func (p *problem) Error() string { return p.detail }

func wrongParameter(name, detail string) api.ProblemError {
	return api.ProblemError{Parameter: name, Detail: detail}
}

func wrongField(pointer jsontext.Pointer, detail string) api.ProblemError {
	return api.ProblemError{Pointer: string(pointer), Detail: detail}
}

// problemOf finds the problem in err.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	public := domain.Public(err)
	if len(public.Fields) == 0 {
		return &problem{kind: kindOf[public.Code], detail: public.Message}
	}
	errs := make([]api.ProblemError, len(public.Fields))
	for i, f := range public.Fields {
		errs[i] = wrongField(ancestor(jsontext.Pointer("/"+f.Field)), f.Detail)
	}
	return kindOf[public.Code].withErrors(errs...)
}

// parametersOf is the problem in err, of this kind and about parameters rather than
// fields of a body.
func (k problemKind) parametersOf(err error) *problem {
	p := problemOf(err)
	for i, e := range p.errors {
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Pointer, "/"), "/") // what is inside it the detail says
		p.errors[i] = wrongParameter(name, e.Detail)
	}
	return k.withErrors(p.errors...)
}

// parameterProblem is the problem of a parameter that the generated code could not bind.
func parameterProblem(err error) error {
	if many, ok := errors.AsType[*api.TooManyValuesForParamError](err); ok {
		return invalid.withErrors(wrongParameter(many.ParamName, "must not be repeated"))
	}
	return malformed.errorf("%v", err)
}
