package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type sample struct {
	Debug    bool   `config:"debug" default:"false" help:"Log more."`
	Host     string `config:"host" default:"localhost" help:"Name of this machine."`
	StateDir string `config:"state_path" default:"/var/lib/tropo" help:"Where the state is."`
	Database struct {
		Connection string        `config:"connection" default:"sqlite://$state_path/db" secret:"true" help:"Where the data is."`
		Timeout    time.Duration `config:"timeout" default:"30" min:"1s" help:"Longest wait."`
		Pool       int           `config:"max_pool_size" default:"5" min:"1" max:"100" help:"Connections, at most." deprecated:"sql_max_pool_size,DEFAULT.pool"`
	} `config:"database"`
	Compute struct {
		Ratio   float64           `config:"cpu_allocation_ratio" default:"4.0" help:"Virtual processors for each real one."`
		Filters []string          `config:"enabled_filters" default:"ComputeFilter, RamFilter" help:"Filters, in order."`
		Alias   []string          `config:"alias" type:"multi" help:"PCI aliases."`
		Cache   int64             `config:"cache" type:"size" default:"10GiB" help:"Image cache."`
		Limit   Size              `config:"limit" default:"1M" max:"1G" help:"Body limit."`
		Driver  string            `config:"driver" default:"qemu" choices:"qemu,libvirt,fake" help:"Hypervisor driver."`
		Labels  map[string]string `config:"labels" default:"a:1" help:"Labels."`
		Quota   struct {
			Cores uint16 `config:"cores" default:"20" help:"Processors for a project."`
		} `config:"quota"`
	} `config:"compute"`
	note string
}

func load(t *testing.T, s Sources) (*sample, []string, error) {
	t.Helper()
	var warnings []string
	s.Warn = func(m string) { warnings = append(warnings, m) }
	var dst sample
	err := Load(&dst, s)
	return &dst, warnings, err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tropo.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaults(t *testing.T) {
	got, warnings, err := load(t, Sources{})
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if got.Host != "localhost" || got.Database.Connection != "sqlite:///var/lib/tropo/db" || got.Database.Timeout != 30*time.Second ||
		got.Compute.Cache != 10<<30 || got.Compute.Limit != 1<<20 || got.Compute.Quota.Cores != 20 || got.Compute.Ratio != 4 ||
		!slices.Equal(got.Compute.Filters, []string{"ComputeFilter", "RamFilter"}) || got.Compute.Labels["a"] != "1" || got.note != "" {
		t.Fatalf("%+v", got)
	}
}

func TestPrecedence(t *testing.T) {
	one := writeFile(t, "host = file1\n[database]\nmax_pool_size = 1\n[compute]\nalias = a\nalias = b\n")
	two := writeFile(t, "[database]\nmax_pool_size: 2\ntimeout = 1m30s\n[compute]\nalias=c\n")
	got, _, err := load(t, Sources{Files: []string{one, two}})
	if err != nil || got.Host != "file1" || got.Database.Pool != 2 || got.Database.Timeout != 90*time.Second || !slices.Equal(got.Compute.Alias, []string{"c"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	env := map[string]string{
		"TROPO_HOST": "env", "TROPO_DATABASE__MAX_POOL_SIZE": "3", "TROPO_COMPUTE_QUOTA__CORES": "9",
		"TROPO_COMPUTE__ALIAS": "x\ny", "TROPO_DEBUG": "yes", "HOME": "/",
	}
	got, warnings, err := load(t, Sources{Files: []string{one, two}, Env: env})
	if err != nil || got.Host != "env" || got.Database.Pool != 3 || got.Compute.Quota.Cores != 9 || !got.Debug || !slices.Equal(got.Compute.Alias, []string{"x", "y"}) || len(warnings) != 0 {
		t.Fatalf("%+v, %v, %v", got, warnings, err)
	}
	got, _, err = load(t, Sources{Files: []string{one}, Env: env, Overrides: map[string]string{"host": "flag", "database.max_pool_size": "4", "compute.quota.cores": "8"}})
	if err != nil || got.Host != "flag" || got.Database.Pool != 4 || got.Compute.Quota.Cores != 8 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"10.conf": "host = a", "20.conf": "host = b", "30.txt": "host = c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, _, err := load(t, Sources{Files: []string{dir}})
	if err != nil || got.Host != "b" {
		t.Fatalf("%q, %v", got.Host, err)
	}
	if _, _, err := load(t, Sources{Files: []string{filepath.Join(dir, "missing")}}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestSubstitution(t *testing.T) {
	for text, want := range map[string]string{
		"host = $state_path/x":                       "/var/lib/tropo/x",
		"host = ${state_path}x":                      "/var/lib/tropox",
		"host = $database.max_pool_size":             "5",
		"host = ${database.max_pool_size}":           "5",
		"host = $compute.quota.cores":                "20",
		"host = $state_path.example.":                "/var/lib/tropo.example.",
		"host = $state_path.example":                 "/var/lib/tropo.example",
		"host = a$$b":                                "a$b",
		`host = a\$b`:                                "a$b",
		"host = $$state_path":                        "$state_path",
		"state_path = /a/$debug\nhost = $state_path": "/a/false",
	} {
		got, _, err := load(t, Sources{Files: []string{writeFile(t, text)}})
		if err != nil || got.Host != want {
			t.Errorf("%q: %q, %v; want %q", text, got.Host, err, want)
		}
	}
	for text, want := range map[string]string{
		"host = $nothing": "$nothing names no option",
		"host = 100$":     "$ at position 4",
		"host = ${debug":  "$ at position 1",
		"host = $host":    "refers to itself",
		"host = $state_path\nstate_path = /x/$host": "refers to itself",
	} {
		if _, _, err := load(t, Sources{Files: []string{writeFile(t, text)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// Each pair is a value that is good and one that is bad, with the error.
func TestPairs(t *testing.T) {
	for _, c := range []struct{ option, good, bad, want string }{
		{"debug", "on", "maybe", "want true or false"},
		{"database.timeout", "1.5", "soon", "want seconds or a duration such as 1m30s of at least 1s"},
		{"database.timeout", "1s", "0", "of at least 1s"},
		{"database.max_pool_size", "100", "101", "want an integer from 1 to 100"},
		{"database.max_pool_size", "1", "0", "want an integer from 1 to 100"},
		{"database.max_pool_size", "7", "7.5", "want an integer"},
		{"compute.cpu_allocation_ratio", "1e2", "much", "want a number"},
		{"compute.cache", "1.5G", "10 boxes", "want bytes or a size"},
		{"compute.limit", "1GiB", "2G", "of at most 1G"},
		{"compute.driver", "fake", "xen", "want one of qemu, libvirt, fake"},
		{"compute.labels", "a:1,b:2", "a", "want key:value pairs"},
		{"compute.quota.cores", "65535", "65536", "want an integer"},
		{"compute.quota.cores", "0", "-1", "want an integer"},
		{"database.sql_max_pool_size", "5", "x", "want an integer"},
	} {
		if _, _, err := load(t, Sources{Overrides: map[string]string{c.option: c.good}}); err != nil {
			t.Errorf("%s = %s: %v", c.option, c.good, err)
		}
		_, _, err := load(t, Sources{Overrides: map[string]string{c.option: c.bad}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%s = %s: %v; want %q", c.option, c.bad, err, c.want)
		}
	}
}

func TestFixtures(t *testing.T) {
	good, _ := filepath.Glob("testdata/good*.conf")
	bad, _ := filepath.Glob("testdata/bad*.conf")
	if len(good) < 1 || len(bad) < 5 {
		t.Fatal(good, bad)
	}
	for _, name := range good {
		got, warnings, err := load(t, Sources{Files: []string{name}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Host != "node one" || got.Compute.Alias[1] != `{ "vendor_id": "8086" }` || len(got.Compute.Filters) != 3 || got.Database.Pool != 12 {
			t.Errorf("%s: %+v", name, got)
		}
		want := []string{
			name + ":24: [database] has no option conection; did you mean connection?",
			name + ":26: [database] sql_max_pool_size is deprecated; use [database] max_pool_size",
		}
		if !slices.Equal(warnings, want) {
			t.Errorf("%s: warnings %q; want %q", name, warnings, want)
		}
	}
	for _, name := range bad {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(strings.TrimPrefix(string(data), "# want: "), "\n")
		if _, _, err := load(t, Sources{Files: []string{name}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

func TestAllErrorsAtOnceWithoutSecrets(t *testing.T) {
	_, _, err := load(t, Sources{
		Env:       map[string]string{"TROPO_DATABASE__CONNECTION": "mysql://u:hunter2$x@h/d", "TROPO_DEBUG": "?"},
		Overrides: map[string]string{"database.max_poolsize": "1"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"environment TROPO_DATABASE__CONNECTION", `= "***"`, "environment TROPO_DEBUG", "did you mean max_pool_size?"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error shows a password:", err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Option == "" {
		t.Error("no *Error in", err)
	}
}

func TestUnknownEnvironmentWarns(t *testing.T) {
	_, warnings, err := load(t, Sources{Env: map[string]string{"TROPO_DATABASE__POOL": "1", "TROPO_OTHER__X": "1", "TROPO_HOME": "/"}})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "TROPO_DATABASE__POOL") {
		t.Fatal(err, warnings)
	}
}

type checked struct {
	Min   int `config:"min" default:"1" help:"."`
	Max   int `config:"max" default:"2" help:"."`
	Inner struct {
		Key string `config:"key" required:"true" help:"."`
	} `config:"inner"`
}

func (c *checked) Validate() error {
	if c.Min > c.Max {
		return errors.New("min is greater than max")
	}
	return nil
}

func TestValidateAndRequired(t *testing.T) {
	var c checked
	if err := Load(&c, Sources{}); err == nil || !strings.Contains(err.Error(), "[inner] key: is required") {
		t.Error(err)
	}
	if err := Load(&c, Sources{Overrides: map[string]string{"inner.key": "k", "min": "3"}}); err == nil || !strings.Contains(err.Error(), "greater") {
		t.Error(err)
	}
	if err := Load(&c, Sources{Overrides: map[string]string{"inner.key": "k"}}); err != nil {
		t.Error(err)
	}
}

func TestWrongStructs(t *testing.T) {
	for _, dst := range []any{
		nil,
		checked{},
		new(int), (*checked)(nil),
		&struct {
			C chan int `config:"c"`
		}{},
		&struct {
			A int `config:"a"`
			B int `config:"a"`
		}{},
	} {
		if Load(dst, Sources{}) == nil {
			t.Errorf("%T is accepted", dst)
		}
	}
}

func TestGolden(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"sample.golden":    func(b *bytes.Buffer) error { return WriteSample(b, sample{}) },
		"reference.golden": func(b *bytes.Buffer) error { return WriteReference(b, &sample{}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s differs (%v); run go test -update:\n%s", name, err, b.String())
		}
	}
}

// The sample with its comment signs off is the default configuration.
func TestSampleIsTheDefaults(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSample(&b, sample{}); err != nil {
		t.Fatal(err)
	}
	var live strings.Builder
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "#alias") {
			continue // no value is the default
		}
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		live.WriteString(line)
	}
	got, warnings, err := load(t, Sources{Files: []string{writeFile(t, live.String())}})
	want, _, _ := load(t, Sources{})
	want.Compute.Alias = got.Compute.Alias
	if err != nil || len(warnings) != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v\n%v %v", got, want, warnings, err)
	}
}

func FuzzINI(f *testing.F) {
	for _, s := range []string{"", "[a]\nb=c\n d\n", "a: $b\nb: $a", "host = ${", "[", "=", " x", "[database]\ntimeout=1e999\n", "[compute]\nlimit=9999999999999G"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		entries, err := parseINI("f", strings.NewReader(s))
		if err != nil {
			return
		}
		var dst sample
		opts, err := options(reflect.ValueOf(&dst).Elem())
		if err != nil {
			t.Fatal(err)
		}
		l := newLoader(opts, Sources{})
		for _, e := range entries {
			if o := l.byKey[key(e.group, e.key)]; o != nil {
				l.raws[o.key()] = raw{[]string{e.value}, "f"}
			}
		}
		for _, o := range opts {
			l.assign(o)
		}
	})
}
