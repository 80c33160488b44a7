package httpapi

import (
	"cmp"
	"context"
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

// retryAfter is what a client is told to wait, in seconds, while a store is away
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
		"The request cannot be read without doubt: JSON that is broken, has trailing data, doubled names or bytes that are not UTF-8, or an id that is not a UUID."}
	unauthorized = problemKind{"unauthorized", http.StatusUnauthorized, "Unauthorized",
		"The request has no key, or one that is not known. The service's operator hands out keys; send yours as Authorization: Bearer KEY."}
	crossOrigin = problemKind{"cross_origin", http.StatusForbidden, "Cross-origin request",
		"A page of another site had a browser send this. Such a page cannot change anything here; programs other than browsers can."}
	notFound = problemKind{"not_found", http.StatusNotFound, "Not found",
		"There is no task, no queue or no bulk action of this name; detail says which."}
	noSuchPath = problemKind{"no_such_path", http.StatusNotFound, "No such path",
		"Nothing is served at this path. Paths are exact: a doubled or trailing slash counts."}
	methodNotAllowed = problemKind{"method_not_allowed", http.StatusMethodNotAllowed, "Method not allowed",
		"The path does not have this method; the Allow header lists those it has."}
	notAcceptable = problemKind{"not_acceptable", http.StatusNotAcceptable, "Not acceptable",
		"The Accept header excludes what the path answers with."}
	requestTimeout = problemKind{"request_timeout", http.StatusRequestTimeout, "Request timeout",
		"The body did not arrive in time. Send it again."}
	conflict = problemKind{"conflict", http.StatusConflict, "Conflict",
		"The task's state does not allow the change. Read the task, then decide again."}
	changed = problemKind{"changed", http.StatusPreconditionFailed, "Changed meanwhile",
		"The task is not at a version that If-Match names. Read the task, then decide again."}
	tooLarge = problemKind{"too_large", http.StatusRequestEntityTooLarge, "Too large",
		"The message, or the body as a whole, is over the limit that the operator has set."}
	unsupportedMediaType = problemKind{"unsupported_media_type", http.StatusUnsupportedMediaType, "Unsupported media type",
		"The body is not JSON in UTF-8, or is compressed."}
	invalid = problemKind{"invalid", http.StatusUnprocessableEntity, "Invalid request",
		"The request is well-formed but wrong. errors names each part of it that is."}
	keyReused = problemKind{"idempotency_key_reused", http.StatusUnprocessableEntity, "Idempotency key reused",
		"The Idempotency-Key came with another request before. Nothing was done: use a key of its own for each request."}
	internal = problemKind{"internal", http.StatusInternalServerError, "Internal error",
		"A defect of the service. It has been logged; sending the same again will hardly help."}
	unavailable = problemKind{"unavailable", http.StatusServiceUnavailable, "Unavailable",
		"The database does not answer. Whether a change was made is not known: read the task, and try again after Retry-After seconds. With an Idempotency-Key, sending the same again is safe."}
	overloaded = problemKind{"overloaded", http.StatusServiceUnavailable, "Overloaded",
		"More requests arrive than the service can take. Nothing was done: send the same again after Retry-After seconds."}
)

// problemKinds lists them all, for /problems.
var problemKinds = []problemKind{
	malformed, unauthorized, crossOrigin, notFound, noSuchPath, methodNotAllowed, notAcceptable, requestTimeout, conflict, changed, tooLarge,
	unsupportedMediaType, invalid, keyReused, internal, unavailable, overloaded,
}

// kindOf is the problem that each code of the domain is.
var kindOf = map[domain.Code]problemKind{
	domain.CodeInvalid:     invalid,
	domain.CodeTooLarge:    tooLarge,
	domain.CodeNotFound:    notFound,
	domain.CodeConflict:    conflict,
	domain.CodeChanged:     changed,
	domain.CodeKeyReused:   keyReused,
	domain.CodeUnavailable: unavailable,
	domain.CodeInternal:    internal,
}

func (k problemKind) uri() string { return "/problems/" + k.code }

// because makes a problem of this kind.
func (k problemKind) because(format string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(format, args...)}
}

// maxDetails is how many wrong parts the detail of a problem has in words.
const maxDetails = 10

// with makes a problem that consists of wrong parts of the request.
func (k problemKind) with(errs ...api.ProblemError) *problem {
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

// problem is an error that knows its document.
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
		var at jsontext.Pointer
		for name := range strings.SplitSeq(f.Field, "/") {
			at = at.AppendToken(name)
		}
		errs[i] = wrongField(at, f.Detail)
	}
	return kindOf[public.Code].with(errs...)
}

// inQuery is err with its fields taken for parameters.
func inQuery(err error) error {
	p := problemOf(err)
	if len(p.errors) == 0 {
		return err
	}
	for i, e := range p.errors {
		name := jsontext.Pointer(e.Pointer).LastToken()
		p.errors[i] = wrongParameter(name, e.Detail)
	}
	return p
}

// wholeNumbers are the parameters that are.
var wholeNumbers = []string{"limit", "wait"}

// unbound is the problem of a parameter that the generated code could not bind.
func unbound(err error) error {
	if format, ok := errors.AsType[*api.InvalidParamFormatError](err); ok && slices.Contains(wholeNumbers, format.ParamName) {
		return invalid.with(wrongParameter(format.ParamName, "must be a whole number"))
	}
	if many, ok := errors.AsType[*api.TooManyValuesForParamError](err); ok {
		return invalid.with(wrongParameter(many.ParamName, "must be given once"))
	}
	return malformed.because("%v", err)
}

// fail is the only place where an error becomes a response. A defect of ours is
// logged here, where it stops, and told to nobody else.
func (h *handlers) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.kind.code == internal.code {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			p = unavailable.because("the client has hung up") // and reads no answer
		} else {
			h.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", route(r), "error", err)
			p = internal.because("internal error") // even if a defect has a message of its own
		}
	}
	h.writeProblem(w, p)
}

func (h *handlers) writeProblem(w http.ResponseWriter, p *problem) {
	if p.kind.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, p.kind.status, typeProblem, api.Problem{
		Type: p.kind.uri(), Title: p.kind.title, Status: p.kind.status, Detail: p.detail, Errors: p.errors,
	}, jsontext.AllowInvalidUTF8(true)) // a detail may quote any byte that was sent
}

// ListProblems is GET /problems.
func (h *handlers) ListProblems(w http.ResponseWriter, _ *http.Request) {
	list := api.ProblemTypes{Problems: make([]api.ProblemType, len(problemKinds))}
	for i, k := range problemKinds {
		list.Problems[i] = k.describe()
	}
	writeJSON(w, http.StatusOK, typeJSON, list)
}

// GetProblem is GET /problems/{code}: what the type of a problem leads to.
func (h *handlers) GetProblem(w http.ResponseWriter, r *http.Request, code string) {
	i := slices.IndexFunc(problemKinds, func(k problemKind) bool { return k.code == code })
	if i < 0 {
		h.fail(w, r, noSuchPath.because("there is no such problem"))
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, problemKinds[i].describe())
}

func (k problemKind) describe() api.ProblemType {
	return api.ProblemType{Type: k.uri(), Title: k.title, Status: k.status, Meaning: k.meaning}
}
