// Command opa-cases prints OPA's own test cases and the expressions of expressions.txt, one JSON object a line, each
// with what OPA answers when built-in functions that fail are errors, which is how Bondstone asks, and with the
// built-in functions that it calls.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// Case is what another engine needs to know to answer the same question.
type Case struct {
	Note     string         `json:"note"`
	Group    string         `json:"group"`
	Query    string         `json:"query"`
	Modules  []string       `json:"modules"`
	Data     map[string]any `json:"data,omitempty"`
	Input    *any           `json:"input,omitempty"`
	Unsorted bool           `json:"unsorted,omitempty"`
	Calls    []string       `json:"calls"`
	// Skipped says why only Go could ask it.
	Skipped string `json:"skipped,omitempty"`
	// Answer is a list of bindings; nil where Error is set.
	Answer []map[string]any `json:"answer"`
	Error  string           `json:"error,omitempty"`
}

//go:embed expressions.txt
var expressions string

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "opa-cases takes no arguments; it prints OPA's test cases as lines of JSON")
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	err := fs.WalkDir(testdata.V1, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := testdata.V1.ReadFile(name)
		if err != nil {
			return err
		}
		var set cases.Set
		if err := util.Unmarshal(text, &set); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, test := range set.Cases {
			if err := out.Encode(ask(path.Base(path.Dir(name)), test)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, line := range strings.Split(expressions, "\n") {
		if err == nil && line != "" && !strings.HasPrefix(line, "#") {
			module := "package test\n\np := " + line + "\n"
			err = out.Encode(ask("expressions", cases.TestCase{
				Note: "expressions/" + line, Query: "data.test.p = x", Modules: []string{module},
			}))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(group string, test cases.TestCase) Case {
	request := Case{
		Note: test.Note, Group: group, Query: test.Query, Modules: test.Modules, Unsorted: test.SortBindings,
		Input: test.Input, Calls: []string{},
	}
	if test.Data != nil {
		request.Data = *test.Data
	}
	for name, value := range test.Env {
		os.Setenv(name, value)
	}
	if test.IgnoreGeneratedVars {
		request.Skipped = "it asks for variables that OPA's compiler makes"
	}
	answer, err := evaluate(test, &request)
	if err != nil {
		request.Error = err.Error()
	} else {
		request.Answer = answer
	}
	slices.Sort(request.Calls)
	request.Calls = slices.Compact(request.Calls)
	return request
}

func evaluate(test cases.TestCase, request *Case) ([]map[string]any, error) {
	options := ast.ParserOptions{RegoVersion: ast.RegoV1}
	if test.ExperimentalKeywords {
		options.Capabilities = ast.CapabilitiesForThisVersion(ast.CapabilitiesExperimentalKeywords(true))
	}
	modules := map[string]*ast.Module{}
	for index, source := range test.Modules {
		name := fmt.Sprintf("test-%d.rego", index)
		module, err := ast.ParseModuleWithOpts(name, source, options)
		if err != nil {
			return nil, err
		}
		request.Calls = append(request.Calls, calls(module)...)
		modules[name] = module
	}
	body, err := ast.ParseBody(test.Query)
	if err != nil {
		return nil, err
	}
	request.Calls = append(request.Calls, calls(body)...)
	compiler := ast.NewCompiler()
	if options.Capabilities != nil {
		compiler = compiler.WithCapabilities(options.Capabilities)
	}
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	query, err := compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, err
	}
	store := inmem.New()
	if test.Data != nil {
		store = inmem.NewFromObject(*test.Data)
	}
	ctx := context.Background()
	input, err := inputOf(test, request)
	if err != nil {
		return nil, err
	}
	txn := storage.NewTransactionOrDie(ctx, store)
	defer store.Abort(ctx, txn)
	results, err := topdown.NewQuery(query).WithCompiler(compiler).WithStore(store).WithTransaction(txn).
		WithInput(input).WithStrictBuiltinErrors(true).Run(ctx)
	if err != nil {
		return nil, err
	}
	return plain(results)
}

// inputOf tells OPA's input, and sets the other engine's, which takes JSON only. There always is one, as there always
// is a plan that is decided about.
func inputOf(test cases.TestCase, request *Case) (*ast.Term, error) {
	if test.InputTerm == nil {
		if test.Input == nil {
			return ast.NullTerm(), nil
		}
		value, err := ast.InterfaceToValue(*test.Input)
		return ast.NewTerm(value), err
	}
	term, err := ast.ParseTerm(*test.InputTerm)
	if err != nil {
		return nil, err
	}
	value, err := ast.JSON(term.Value)
	if err != nil {
		return nil, err
	}
	back, err := ast.InterfaceToValue(value)
	if err != nil {
		return nil, err
	}
	if back.Compare(term.Value) != 0 {
		request.Skipped = "its input is not JSON"
	}
	request.Input = &value
	return term, nil
}

func plain(results topdown.QueryResultSet) ([]map[string]any, error) {
	answer := []map[string]any{}
	for _, result := range results {
		bindings := map[string]any{}
		for name, term := range result {
			value, err := ast.JSON(term.Value)
			if err != nil {
				return nil, errors.New("its result is not JSON: " + err.Error())
			}
			// As text and back, so that numbers stay as OPA writes them.
			text, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			decoder := json.NewDecoder(bytes.NewReader(text))
			decoder.UseNumber()
			var again any
			if err := decoder.Decode(&again); err != nil {
				return nil, err
			}
			bindings[string(name)] = again
		}
		answer = append(answer, bindings)
	}
	return answer, nil
}

// calls tells the built-in functions and operators that a part of a policy uses, by OPA's names.
func calls(node any) []string {
	names := []string{}
	visit := ast.NewGenericVisitor(func(part any) bool {
		switch part := part.(type) {
		case *ast.Expr:
			if part.IsCall() {
				names = append(names, part.Operator().String())
			}
		case ast.Call:
			names = append(names, part[0].Value.String())
		}
		return false
	})
	visit.Walk(node)
	return slices.DeleteFunc(names, func(name string) bool {
		_, builtin := ast.BuiltinMap[name]
		return !builtin || strings.HasPrefix(name, "internal.")
	})
}
