package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// BatchAnswer is what a collector says of one part of a batch: a receipt, or
// the problem in its way.
type BatchAnswer struct {
	Receipt Receipt
	Problem *Problem // nil when there is a receipt
}

// receiptLine is the form of a receipt in the answer to a batch.
type receiptLine struct {
	Status int `json:"status"`
	Receipt
}

// encodeAnswers gives the answer to a batch: one JSON object a line, a receipt
// with its status or a problem document, in the order of the parts.
func encodeAnswers(answers []BatchAnswer) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out) // ends each object with a newline; strings and numbers always encode
	for _, a := range answers {
		if a.Problem != nil {
			_ = enc.Encode(a.Problem)
			continue
		}
		_ = enc.Encode(receiptLine{a.Receipt.status(), a.Receipt})
	}
	return out.Bytes()
}

// decodeAnswers reads the answer to a batch of n parts. A batch that broke off
// has fewer lines than parts: of the parts without a line nothing was published.
//
// An error says that the answer is not one of ours, or was cut; the answers
// before it are returned with it and hold.
func decodeAnswers(r io.Reader, n int) ([]BatchAnswer, error) {
	answers := make([]BatchAnswer, 0, min(n, MaxBatchParts))
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxAnswerBytes)
	lines.Split(wholeLines)
	for lines.Scan() {
		if len(answers) == n {
			return answers, fmt.Errorf("batch answer: more lines than parts")
		}
		a, err := decodeAnswer(lines.Bytes())
		if err != nil {
			return answers, fmt.Errorf("batch answer: line %d: %w", len(answers)+1, err)
		}
		answers = append(answers, a)
	}
	if err := lines.Err(); err != nil {
		return answers, fmt.Errorf("batch answer: %w", err)
	}
	return answers, nil
}

// wholeLines splits at newlines; a last line without one was cut.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

func decodeAnswer(line []byte) (BatchAnswer, error) {
	var probe struct {
		Status int `json:"status"`
	}
	if err := json.Unmarshal(line, &probe); err != nil {
		return BatchAnswer{}, err
	}
	switch {
	case probe.Status == 200 || probe.Status == 201:
		r, err := parseReceipt(probe.Status, line)
		return BatchAnswer{Receipt: r}, err
	case probe.Status >= 400 && probe.Status <= 599:
		var p Problem
		err := json.Unmarshal(line, &p)
		return BatchAnswer{Problem: &p}, err
	}
	return BatchAnswer{}, fmt.Errorf("status %d", probe.Status)
}
