// Package client is a typed client of Millrace's HTTP API, generated from the
// document that the server itself serves at /openapi.yaml. It depends on no
// other package of Millrace.
//
// [NewClientWithResponses] makes one; its methods return an error only when no
// answer came or the answer could not be read. Every answer that the API
// documents, errors included, is a field of the response: for SubmitTask,
// JSON201 is the task and ApplicationproblemJSON422 the problem document.
// [WithAPIKey] is for a service that wants a key. A client is safe for concurrent use.
package client

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config config.yaml ../adapters/httpapi/openapi.yaml
