package httpapi

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"github.com/swaggest/swgui/v5emb"
	"sigs.k8s.io/yaml"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

//go:embed openapi.yaml
var openAPIYAML []byte

var openAPIJSON = func() []byte {
	j, err := yaml.YAMLToJSON(openAPIYAML)
	if err != nil {
		panic(err) // the document is part of the program
	}
	return j
}()

// docsUI has the assets of Swagger UI. docsAssets are all that the page asks for.
var docsUI = v5emb.New("Millrace", "/openapi.json", "/docs")

const docsAssets = `swagger-ui\.css|swagger-ui-bundle\.js|favicon-16x16\.png|favicon-32x32\.png`

//go:embed docs.html
var docsHTML string

var docsTemplate = template.Must(template.New("docs").Parse(docsHTML))

// docsPage is the page of a program of that version. Without keys it shows no
// padlocks: there is nothing to unlock.
func docsPage(version string, keys bool) []byte {
	var page bytes.Buffer
	if err := docsTemplate.Execute(&page, struct {
		Version string
		Keys    bool
	}{version, keys}); err != nil {
		panic(err) // the template is part of the program
	}
	return page.Bytes()
}

// docsPolicy lets the page run its own inline script and load from this server
// only. It holds nothing of a user's.
const docsPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; frame-ancestors 'none'"

// GetDocs is GET /docs.
func (h *handlers) GetDocs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy", docsPolicy)
	writeBytes(w, http.StatusOK, typeHTML, h.docs)
}

// GetOpenAPIYAML is GET /openapi.yaml.
func (h *handlers) GetOpenAPIYAML(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, typeYAML, openAPIYAML)
}

// GetOpenAPIJSON is GET /openapi.json.
func (h *handlers) GetOpenAPIJSON(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, typeJSON, openAPIJSON)
}

// GetIndex is GET /: a person is led to the documentation, a program gets links.
func (h *handlers) GetIndex(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if accepted(r, produced["/"]...) == typeHTML {
		http.Redirect(w, r, "/docs", http.StatusFound)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, api.Index{
		"docs": "/docs", "openapi": "/openapi.json", "problems": "/problems", "queues": "/queues", "ready": "/readyz", "tasks": "/tasks",
	})
}
