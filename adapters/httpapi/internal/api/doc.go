// Package api is what openapi.yaml says, as Go: the operations of the server
// and the documents it exchanges. oapi-codegen makes all of it but this file.
package api

//go:generate go tool -modfile=../../../../tools/go.mod oapi-codegen -config config.yaml ../../openapi.yaml
