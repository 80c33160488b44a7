package httpapi

import (
	"strconv"
	"strings"

	"github.com/millrace/millrace/domain"
)

// etag is the task's version as an entity tag.
func etag(t *domain.Task) string { return `"` + strconv.FormatInt(t.Version(), 10) + `"` }

// matches reports whether a list of entity tags (RFC 9110, 13.1.2) names tag, by
// weak comparison, or is "*". What breaks the grammar matches nothing from there on.
func matches(list, tag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		opaque := strings.TrimPrefix(list, "W/")
		if len(opaque) == 0 || opaque[0] != '"' {
			return false
		}
		end := strings.IndexByte(opaque[1:], '"')
		if end < 0 {
			return false
		}
		if opaque[:end+2] == tag {
			return true
		}
		list = strings.TrimLeft(opaque[end+2:], " \t")
		if !strings.HasPrefix(list, ",") {
			return false
		}
	}
}
