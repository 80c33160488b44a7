package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/domain"
)

// limitOf reads the parameter limit, which checkQuery has checked.
func limitOf(param *int) int {
	if param == nil {
		return 0 // the default of the use cases
	}
	return *param
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
