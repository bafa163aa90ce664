package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// minGzip is the size in bytes from which a table is compressed for those who
// accept it. A smaller one fits into a few packets as it is.
const minGzip = 4 << 10

// errAnswerSize is returned for an answer beyond the bound.
var errAnswerSize = errors.New("the answer is too large")

// gzipWriters are kept, since each holds hundreds of KiB.
var gzipWriters = sync.Pool{New: func() any {
	zw, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
	return zw
}}

// compress packs a whole answer.
func compress(body []byte) []byte {
	var out bytes.Buffer
	zw := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(zw)
	zw.Reset(&out)
	_, _ = zw.Write(body) // into memory: never fails
	_ = zw.Close()
	return out.Bytes()
}

// acceptsGzip reports whether a client named gzip (RFC 9110 12.5.3). One that
// accepts anything, or says nothing, gets the plain form.
func acceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, given := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}

// readAnswer reads a whole answer, compressed or not, of at most limit bytes.
func readAnswer(resp *http.Response, limit int64) ([]byte, error) {
	body := io.Reader(resp.Body)
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "", "identity":
	case "gzip":
		zr, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, err
		}
		body = zr
	default:
		return nil, fmt.Errorf("content encoding %.40q", coding)
	}
	answer, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(answer)) > limit {
		err = fmt.Errorf("%w: above %d bytes", errAnswerSize, limit)
	}
	return answer, err
}
