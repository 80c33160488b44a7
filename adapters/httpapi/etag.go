package httpapi

import (
	"strconv"
	"strings"

	"github.com/millrace/millrace/domain"
)

// headerETag is spelled as net/http sends it, which is quick.
const headerETag = "Etag"

// etag is the task's version as an entity tag.
func etag(t *domain.Task) string { return `"` + strconv.FormatInt(t.Version(), 10) + `"` }

// matches reports whether a list of entity tags (RFC 9110, 13.1.1 and 13.1.2)
// names tag, or is "*". By weak comparison, which If-None-Match requires, a weak tag
// counts; by strong, which If-Match requires, it does not. What breaks the grammar
// matches nothing from there on.
func matches(list, tag string, weak bool) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		opaque, isWeak := strings.CutPrefix(list, "W/")
		if len(opaque) == 0 || opaque[0] != '"' {
			return false
		}
		end := strings.IndexByte(opaque[1:], '"')
		if end < 0 {
			return false
		}
		if opaque[:end+2] == tag && (weak || !isWeak) {
			return true
		}
		list = strings.TrimLeft(opaque[end+2:], " \t")
		if !strings.HasPrefix(list, ",") {
			return false
		}
	}
}
