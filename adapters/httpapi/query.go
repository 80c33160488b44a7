package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// lenientTags mark the operations that ignore unknown query parameters: whoever
// asks for probes and pages may add what they like.
var lenientTags = []string{"health", "about"}

// queryParameters are the query parameters of an operation.
type queryParameters map[string]apiParameter

// strictQueries has an entry for each operation whose query is checked, such as
// "GET /tasks". It is read from openapi.yaml.
var strictQueries = func() map[string]queryParameters {
	var doc apiDocument
	if err := json.Unmarshal(openAPIJSON, &doc); err != nil {
		panic(err) // the document is part of the program
	}
	return doc.strictQueries()
}()

// apiDocument is the part of openapi.yaml that says which query parameters there are.
type apiDocument struct {
	Paths      map[string]map[string]jsontext.Value `json:"paths"`
	Components struct {
		Parameters map[string]apiParameter `json:"parameters"`
	} `json:"components"`
}

type apiParameter struct {
	Ref    string `json:"$ref"`
	In     string `json:"in"`
	Name   string `json:"name"`
	Schema struct {
		Type    string `json:"type"`
		Minimum int    `json:"minimum"`
		Maximum int    `json:"maximum"`
	} `json:"schema"`
}

type apiOperation struct {
	Tags       []string       `json:"tags"`
	Parameters []apiParameter `json:"parameters"`
}

func (d apiDocument) strictQueries() map[string]queryParameters {
	all := map[string]queryParameters{}
	for path, item := range d.Paths {
		for method, text := range item {
			var op apiOperation
			if text.Kind() != jsontext.KindBeginObject { // the parameters of all methods, which are of the path
				continue
			}
			if err := json.Unmarshal(text, &op); err != nil {
				panic(err)
			}
			if !slices.ContainsFunc(op.Tags, func(tag string) bool { return slices.Contains(lenientTags, tag) }) {
				all[strings.ToUpper(method)+" "+path] = d.queryParameters(op)
			}
		}
	}
	return all
}

func (d apiDocument) queryParameters(op apiOperation) queryParameters {
	params := queryParameters{}
	for _, p := range op.Parameters {
		if name, isRef := strings.CutPrefix(p.Ref, "#/components/parameters/"); isRef {
			p = d.Components.Parameters[name]
		}
		if p.In == "query" {
			params[p.Name] = p
		}
	}
	return params
}

// checkQuery refuses parameters that are unknown or repeated: a misspelled filter
// must not list everything. Empty ones are removed, as absent.
func (m *middleware) checkQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if known, strict := strictQueries[r.Method+" "+route(r)]; strict && r.URL.RawQuery != "" {
			query, err := known.check(r.URL.RawQuery)
			if err != nil {
				m.fail(w, r, err)
				return
			}
			r.URL.RawQuery = query
		}
		next.ServeHTTP(w, r)
	})
}

// check returns the query without empty parameters, and with whole numbers in digits.
func (known queryParameters) check(raw string) (string, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", malformed.errorf("the query is malformed: %v", err)
	}
	var wrong []api.ProblemError
	for name, values := range query {
		p, ok := known[name]
		switch {
		case !ok:
			wrong = append(wrong, wrongParameter(name, "unknown parameter"))
		case len(values) > 1 && p.Schema.Type != "array":
			wrong = append(wrong, wrongParameter(name, "must not be repeated"))
		}
		if query[name] = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(query[name]) == 0 {
			delete(query, name)
			continue
		}
		if p.Schema.Type == "integer" {
			text, fault := p.whole(query[name][0])
			if query[name][0] = text; fault != "" {
				wrong = append(wrong, wrongParameter(name, fault))
			}
		}
	}
	if len(wrong) > 0 {
		return "", invalid.withErrors(wrong...)
	}
	return query.Encode(), nil
}

// whole spells a whole number in digits, however it is written, or says what is wrong.
func (p apiParameter) whole(text string) (digits, fault string) {
	n, err := api.ParseWhole(text)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return "", "must be a whole number, not " + domain.Quoted(text)
	case err != nil || n < p.Schema.Minimum || n > p.Schema.Maximum:
		return "", fmt.Sprintf("must be from %d to %d", p.Schema.Minimum, p.Schema.Maximum)
	}
	return strconv.Itoa(n), ""
}
