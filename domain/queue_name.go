package domain

import "strings"

// QueueName names a queue: small letters, digits, and inside also dots,
// underscores and hyphens, at most 64 of them.
type QueueName string

// DefaultQueue takes the tasks that name none.
const DefaultQueue QueueName = "default"

const maxQueueName = 64

// ParseQueueName returns the queue that is spelled s, or a CodeInvalid error.
func ParseQueueName(s string) (QueueName, error) {
	if !QueueName(s).valid() {
		return "", Invalid("queue", "invalid queue name %s; want %s", Quoted(s), queueNameRule)
	}
	return QueueName(s), nil
}

const queueNameRule = "1 to 64 of a-z, 0-9, dot, underscore and hyphen, starting with a letter or digit"

func (n QueueName) valid() bool {
	if n == "" || len(n) > maxQueueName {
		return false
	}
	for i := range len(n) {
		c := n[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return false
		}
	}
	return true
}
