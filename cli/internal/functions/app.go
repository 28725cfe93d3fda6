package functions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// App is what the files of a function app say.
type App struct {
	Name      string
	Host      map[string]any    // host.json
	Settings  map[string]string // names to values of local.settings.json; may hold secrets
	Functions []Function        // by name
}

// Function is one function.json.
type Function struct {
	Name       string
	EntryPoint string
	Disabled   bool
	Retry      map[string]any
	Bindings   []map[string]any
}

// Read reads a function app: the folder with its host.json, or one function.json in it.
func Read(path string) (*App, error) {
	root, only := path, ""
	if filepath.Base(path) == "function.json" {
		only = filepath.Dir(path)
		root = filepath.Dir(only)
	}
	absolute, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	app := &App{Name: filepath.Base(absolute), Settings: map[string]string{}}
	if err := app.readSettings(root); err != nil {
		return nil, err
	}
	folders := []string{only}
	if only == "" {
		if folders, err = functionFolders(root); err != nil {
			return nil, err
		}
	}
	for _, folder := range folders {
		f, err := readFunction(folder)
		if err != nil {
			return nil, err
		}
		app.Functions = append(app.Functions, *f)
	}
	if len(app.Functions) == 0 {
		return nil, fmt.Errorf("%s: there is no function: expected folders with a function.json below it, as in the folder that a function app is deployed from", path)
	}
	return app, nil
}

// functionFolders returns the folders of a root that hold a function.
func functionFolders(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var folders []string
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		if _, err := os.Stat(filepath.Join(folder, "function.json")); err == nil {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return folders, nil
}

// readSettings reads host.json and local.settings.json, if they are there.
func (a *App) readSettings(root string) error {
	if err := readJSON(filepath.Join(root, "host.json"), &a.Host); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var local struct{ Values map[string]any }
	if err := readJSON(filepath.Join(root, "local.settings.json"), &local); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for name, v := range local.Values {
		a.Settings[name] = fmt.Sprint(v)
	}
	return nil
}

func readFunction(folder string) (*Function, error) {
	var f struct {
		Bindings   []map[string]any
		Disabled   any // a boolean, or the name of a setting
		EntryPoint string
		Retry      map[string]any
	}
	if err := readJSON(filepath.Join(folder, "function.json"), &f); err != nil {
		return nil, err
	}
	return &Function{
		Name: filepath.Base(folder), EntryPoint: f.EntryPoint, Disabled: f.Disabled == true,
		Retry: f.Retry, Bindings: f.Bindings,
	}, nil
}

// readJSON reads a file that may begin with a byte order mark.
func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(data), "\ufeff")), into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// text returns a value of a JSON object, by a key whose case does not matter.
func text(object map[string]any, key string) string {
	for k, v := range object {
		if strings.EqualFold(k, key) && v != nil {
			return fmt.Sprint(v)
		}
	}
	return ""
}

// object returns an object in a JSON object, by a path of keys.
func object(o map[string]any, path ...string) map[string]any {
	for _, key := range path {
		var next map[string]any
		for k, v := range o {
			if inner, ok := v.(map[string]any); ok && strings.EqualFold(k, key) {
				next = inner
			}
		}
		o = next
	}
	return o
}
