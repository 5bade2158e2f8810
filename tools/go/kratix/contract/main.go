// Command contract says what Kratix's own library makes of the files that a pipeline leaves.
//
// It reads one case a line from its standard input, and writes one answer a line:
//
//	{"status": {"known": {…}, "incoming": {…}}}   merged by MergeStatuses
//	{"control": "text of workflow-control.yaml"}  read by ReadWorkflowControlFile; retryAfter in nanoseconds
//	{"selectors": "text of destination-selectors.yaml"}
//
// An answer is {"value": …}, or {"error": "…"} where the library gives one.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"path/filepath"

	"github.com/syntasso/kratix/work-creator/lib"
)

type status struct {
	Known    map[string]any `json:"known"`
	Incoming map[string]any `json:"incoming"`
}

type testCase struct {
	Status    *status `json:"status"`
	Control   *string `json:"control"`
	Selectors *string `json:"selectors"`
}

type control struct {
	Suspend    bool   `json:"suspend"`
	Message    string `json:"message"`
	RetryAfter int64  `json:"retryAfter"`
}

type answer struct {
	Value any    `json:"value"`
	Error string `json:"error,omitempty"`
}

func main() {
	directory, err := os.MkdirTemp("", "kratix-contract-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(directory)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	output := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var one testCase
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			log.Fatal(err)
		}
		value, err := decide(one, filepath.Join(directory, "workflow-control.yaml"))
		result := answer{Value: value}
		if err != nil {
			result = answer{Error: err.Error()}
		}
		if err := output.Encode(result); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func decide(one testCase, file string) (any, error) {
	switch {
	case one.Status != nil:
		return lib.MergeStatuses(one.Status.Known, one.Status.Incoming), nil
	case one.Selectors != nil:
		return lib.ParseDestinationSelectors([]byte(*one.Selectors))
	}
	if err := os.WriteFile(file, []byte(*one.Control), 0o600); err != nil {
		return nil, err
	}
	read, err := lib.ReadWorkflowControlFile(file)
	if err != nil {
		return nil, err
	}
	after, err := read.RetryDuration()
	if err != nil {
		return nil, err
	}
	return control{Suspend: read.IsSuspend(), Message: read.Message, RetryAfter: int64(after)}, nil
}
