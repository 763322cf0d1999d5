// Renders a Helm chart as helm template does. Supports only the parts of Helm that our chart uses: the chart's values merged with
// the values of a file, sprig, include, toYaml, fromYaml, .Files.Get, .Release and .Chart. Prints the documents, each with its template's name.
//
//	render_chart CHART VALUES NAMESPACE RELEASE
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type values = map[string]interface{}

type files struct{ root string }

func (f files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(f.root, name))
	if err != nil {
		return ""
	}
	return string(text)
}

func readYaml(path string) (values, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	read := values{}
	return read, yaml.Unmarshal(text, &read)
}

// merge merges objects and replaces all other values. null removes a default.
func merge(base, over values) values {
	for key, value := range over {
		inner, isObject := value.(values)
		old, wasObject := base[key].(values)
		switch {
		case value == nil:
			delete(base, key)
		case isObject && wasObject:
			base[key] = merge(old, inner)
		default:
			base[key] = value
		}
	}
	return base
}

func toYaml(value interface{}) string {
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		return ""
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func functions(root *template.Template) template.FuncMap {
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = toYaml
	functions["fromYaml"] = func(text string) (values, error) {
		read := values{}
		return read, yaml.Unmarshal([]byte(text), &read)
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var text bytes.Buffer
		err := root.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	return functions
}

// chartOf reads Chart.yaml, and capitalises its keys as Helm does.
func chartOf(root string) (values, error) {
	read, err := readYaml(filepath.Join(root, "Chart.yaml"))
	chart := values{}
	for key, value := range read {
		chart[strings.ToUpper(key[:1])+key[1:]] = value
	}
	return chart, err
}

func render(root, valuesFile, namespace, release string) error {
	chart, err := chartOf(root)
	if err != nil {
		return err
	}
	defaults, err := readYaml(filepath.Join(root, "values.yaml"))
	if err != nil {
		return err
	}
	given, err := readYaml(valuesFile)
	if err != nil {
		return err
	}
	all := template.New(root)
	all.Funcs(functions(all))
	paths, err := filepath.Glob(filepath.Join(root, "templates", "*"))
	if err != nil {
		return err
	}
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := all.New(filepath.Base(path)).Parse(string(text)); err != nil {
			return err
		}
	}
	data := values{
		"Values":  merge(defaults, given),
		"Chart":   chart,
		"Release": values{"Name": release, "Namespace": namespace, "Service": "Helm"},
		"Files":   files{root},
	}
	for _, path := range paths {
		name := filepath.Base(path)
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, name, data); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(text.String()) != "" {
			fmt.Printf("---\n# %s\n%s\n", name, text.String())
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: render_chart CHART VALUES NAMESPACE RELEASE")
		os.Exit(2)
	}
	if err := render(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
