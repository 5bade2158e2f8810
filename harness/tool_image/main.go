// A tool in an image, for tests of container steps: it keeps things of a small HTTP service as it is told.
//
// It keeps the whole contract: plan.json, outputs.json and error.json in /bond/output, and the exit codes. In a
// pipeline of Kratix it writes its arguments: the objects, and the status.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type things map[string]map[string]string

type step struct {
	Action string `json:"action"`
	Inputs struct {
		URL         string  `json:"url"`
		Colour      string  `json:"colour"`
		Version     string  `json:"version"`
		More        things  `json:"more"`
		WaitFor     string  `json:"wait_for"`
		SlowSeconds float64 `json:"slow_seconds"`
		Exit        int     `json:"exit"`
		MemoryMiB   int     `json:"memory_mib"`
	} `json:"inputs"`
	Outputs map[string]any `json:"outputs"`
	Destroy bool           `json:"destroy"`
}

type change struct {
	Address string            `json:"address"`
	Action  string            `json:"action"`
	Type    string            `json:"type"`
	Before  map[string]string `json:"before,omitempty"`
	After   map[string]string `json:"after,omitempty"`
}

// held is the name of what the tool waits for: it belongs to somebody else.
var held string

func main() {
	if action := os.Getenv("KRATIX_WORKFLOW_ACTION"); action != "" {
		check(os.WriteFile("/kratix/output/objects.yaml", []byte(os.Args[1]), 0o644))
		check(os.WriteFile("/kratix/metadata/status.yaml", []byte(os.Args[2]), 0o644))
		return
	}
	var told step
	data, err := os.ReadFile("/bond/input/step.json")
	check(err)
	check(json.Unmarshal(data, &told))
	if told.Inputs.Exit != 0 && told.Action == "apply" {
		fail(told.Inputs.Exit, "told to fail")
	}
	url := told.Inputs.URL
	wanted := things{"thing": {"colour": told.Inputs.Colour, "version": told.Inputs.Version}}
	for name, thing := range told.Inputs.More {
		wanted[name] = thing
	}
	switch os.Getenv("BOND_ACTION") {
	case "plan":
		held = told.Inputs.WaitFor
		if told.Destroy {
			write("plan.json", map[string]any{"changes": difference(read(url), things{})})
			return
		}
		write("plan.json", map[string]any{"changes": difference(read(url), wanted)})
	case "drift":
		held = told.Inputs.WaitFor
		write("plan.json", map[string]any{"changes": difference(wanted, read(url))})
	case "apply":
		fmt.Println("applying", told.Inputs.Colour)
		hold := make([]byte, told.Inputs.MemoryMiB<<20)
		for at := range hold {
			hold[at] = byte(at)
		}
		send("POST", url+"/begun", nil)
		time.Sleep(time.Duration(told.Inputs.SlowSeconds * float64(time.Second)))
		for name, thing := range wanted {
			send("PUT", url+"/"+name, thing)
		}
		for told.Inputs.WaitFor != "" && read(url)[told.Inputs.WaitFor] == nil {
			time.Sleep(100 * time.Millisecond)
		}
		outputs := map[string]any{"colour": told.Inputs.Colour, "version": told.Inputs.Version}
		if key, err := os.ReadFile("/bond/input/files/key"); err == nil {
			outputs["key"] = string(key)
		}
		write("outputs.json", outputs)
	case "destroy":
		for name := range read(url) {
			send("DELETE", url+"/"+name, nil)
		}
	}
}

func difference(before, after things) []change {
	changes := []change{}
	for name := range union(before, after) {
		old, new := before[name], after[name]
		action := "update"
		switch {
		case equal(old, new):
			continue
		case old == nil:
			action = "create"
		case new == nil:
			action = "delete"
		}
		changes = append(changes, change{Address: name, Action: action, Type: "thing", Before: old, After: new})
	}
	return changes
}

func union(one, other things) map[string]bool {
	names := map[string]bool{}
	for name := range one {
		names[name] = true
	}
	for name := range other {
		names[name] = true
	}
	return names
}

func equal(before, after map[string]string) bool {
	one, _ := json.Marshal(before)
	other, _ := json.Marshal(after)
	return bytes.Equal(one, other)
}

func read(url string) things {
	response, err := http.Get(url)
	if err != nil {
		fail(75, err.Error())
	}
	defer response.Body.Close()
	objects := things{}
	check(json.NewDecoder(response.Body).Decode(&objects))
	delete(objects, held)
	return objects
}

func send(method, url string, body any) {
	data, err := json.Marshal(body)
	check(err)
	request, err := http.NewRequest(method, url, bytes.NewReader(data))
	check(err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fail(75, err.Error())
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
}

func write(name string, value any) {
	data, err := json.Marshal(value)
	check(err)
	check(os.WriteFile("/bond/output/"+name, data, 0o600))
}

func check(err error) {
	if err != nil {
		fail(1, err.Error())
	}
}

func fail(code int, message string) {
	data, _ := json.Marshal(map[string]string{"message": message})
	_ = os.WriteFile("/bond/output/error.json", data, 0o600)
	fmt.Fprintln(os.Stderr, message)
	os.Exit(code)
}
