package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// secretPrefix marks a secret; base64 follows.
const secretPrefix = "whsec_"

// The length of a key in bytes, as the specification has it.
const (
	minKey = 24
	maxKey = 64
)

// newSigner parses a secret in the form of Standard Webhooks. The library accepts more
// than that, such as an empty key.
func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, errors.New("a secret must be whsec_ and the base64 of 24 to 64 bytes")
	}
	return standardwebhooks.NewWebhookRaw(key)
}

// sign sets the headers of Standard Webhooks. While a secret is being replaced there are
// two signatures, and a receiver that knows either secret accepts the request.
func (h *Handler) sign(header http.Header, id string, at time.Time, message string) error {
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	signatures := make([]string, len(h.signers))
	for i, signer := range h.signers {
		signature, err := signer.Sign(id, at, []byte(message))
		if err != nil {
			return fmt.Errorf("sign the message: %w", err)
		}
		signatures[i] = signature
	}
	if len(signatures) > 0 {
		header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	}
	return nil
}
