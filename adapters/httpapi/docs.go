package httpapi

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"

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
func (e *endpoints) GetDocs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy", docsPolicy)
	writeBytes(w, http.StatusOK, typeHTML, e.docs)
}

// GetOpenAPIYAML is GET /openapi.yaml.
func (e *endpoints) GetOpenAPIYAML(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, typeYAML, openAPIYAML)
}

// GetOpenAPIJSON is GET /openapi.json.
func (e *endpoints) GetOpenAPIJSON(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, typeJSON, openAPIJSON)
}

// GetIndex is GET /: a person is led to the documentation, a program gets links.
func (e *endpoints) GetIndex(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if accepted(r, produced["/"]...) == typeHTML {
		http.Redirect(w, r, "/docs", http.StatusFound)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, api.Index{
		"docs": "/docs", "openapi": "/openapi.json", "problems": "/problems", "queues": "/queues", "ready": "/readyz", "tasks": "/tasks",
	})
}

// ListProblems is GET /problems.
func (e *endpoints) ListProblems(w http.ResponseWriter, _ *http.Request) {
	list := api.ProblemTypes{Problems: make([]api.ProblemType, len(problemKinds))}
	for i, k := range problemKinds {
		list.Problems[i] = k.describe()
	}
	writeJSON(w, http.StatusOK, typeJSON, list)
}

// GetProblem is GET /problems/{code}: where the type of a problem leads.
func (e *endpoints) GetProblem(w http.ResponseWriter, r *http.Request, code string) {
	e.handle(w, r, func() error {
		i := slices.IndexFunc(problemKinds, func(k problemKind) bool { return k.code == code })
		if i < 0 {
			return noSuchPath.errorf("there is no problem with this code")
		}
		writeJSON(w, http.StatusOK, typeJSON, problemKinds[i].describe())
		return nil
	})
}

func (k problemKind) describe() api.ProblemType {
	return api.ProblemType{Type: k.uri(), Title: k.title, Status: k.status, Meaning: k.meaning}
}
