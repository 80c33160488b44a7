package webhook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/millrace/millrace/domain"
)

// readBody returns as much of the body, as text, as a task may keep and one byte more, so
// that the caller can see that a longer one was cut.
func readBody(res *http.Response) (string, error) {
	plain, err := decompressed(res)
	if err != nil {
		return "", err
	}
	text, decoded := asUTF8(res.Header, plain)
	b, err := io.ReadAll(io.LimitReader(text, domain.MaxResult+1))
	if err != nil {
		return "", err
	}
	if decoded {
		b = bytes.ReplaceAll(b, undecodable, notUTF8)
	}
	late := time.AfterFunc(drainTime, func() { _ = res.Body.Close() }) // ends the wait
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // the rest is of no interest
	return string(b), nil
}

// decompressed is the body without the compression that some receivers, or what is in
// front of them, apply although the request asks for none. What it does not know stays
// as it is, and so does what does not begin as the header says, such as the empty body of a
// 204: the receiver has done its work, and must not do it again for a wrong header.
func decompressed(res *http.Response) (io.Reader, error) {
	body := bufio.NewReader(res.Body)
	start, _ := body.Peek(2) // whoever reads on meets the error
	if len(start) < 2 {
		return body, nil
	}
	switch strings.ToLower(strings.TrimSpace(res.Header.Get("Content-Encoding"))) {
	case "gzip", "x-gzip":
		if start[0] == 0x1f && start[1] == 0x8b { // RFC 1952
			return gzip.NewReader(body)
		}
	case "deflate":
		if start[0]&0x0f == 8 && (int(start[0])<<8|int(start[1]))%31 == 0 { // RFC 1950
			return zlib.NewReader(body)
		}
	}
	return body, nil
}

// What a decoder writes for bytes that mean nothing in their character set, and what
// readBody leaves there: bytes that are not UTF-8, for which the task writes U+FFFD as for
// any others, and says that its result is altered. Both have one length, so that as much
// is kept of the text.
var (
	undecodable = []byte("\uFFFD")
	notUTF8     = []byte("\xff\xff\xff")
)

// asUTF8 decodes the character set that the answer names. A text without one may say by a
// byte order mark that it is UTF-16. What is UTF-8, or of a character set that nobody
// knows, is not decoded.
func asUTF8(header http.Header, body io.Reader) (text io.Reader, decoded bool) {
	_, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	label := params["charset"]
	if err != nil || label == "" {
		return unmarked(body)
	}
	charset, err := htmlindex.Get(label)
	if err != nil || charset == unicode.UTF8 {
		return body, false
	}
	return transform.NewReader(body, unicode.BOMOverride(charset.NewDecoder())), true
}

// unmarked decodes a body that begins with the byte order mark of UTF-16.
func unmarked(body io.Reader) (text io.Reader, decoded bool) {
	buffered := bufio.NewReader(body)
	if mark, err := buffered.Peek(2); err == nil && (string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff") {
		return transform.NewReader(buffered, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()), true
	}
	return buffered, false
}
