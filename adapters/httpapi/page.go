package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/domain"
)

// limitOf reads the parameter limit. To the use cases, 0 is the default.
func limitOf(param *int, limit *int) error {
	if param == nil {
		return nil
	}
	if *limit = *param; *limit == 0 {
		return invalid.withErrors(wrongParameter("limit", "must be at least 1"))
	}
	return nil
}

// linkNext links the page after cursor: same filters, same limit.
func linkNext(w http.ResponseWriter, path string, filters url.Values, cursor string, limit int) {
	filters.Set("cursor", cursor)
	if limit > 0 {
		filters.Set("limit", strconv.Itoa(limit))
	}
	w.Header().Set("Link", "<"+path+"?"+filters.Encode()+`>; rel="next"`)
}

// aboutParameters is err, which names parameters if it names any part of the request.
func aboutParameters(err error) error {
	if public := domain.Public(err); public.Code == domain.CodeInvalid {
		return invalid.parametersOf(err)
	}
	return err
}
