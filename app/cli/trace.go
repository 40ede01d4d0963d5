package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// birth is what compute tells of a server's creation.
type birth struct {
	ServerID string      `json:"server_id"`
	Status   string      `json:"status"`
	Steps    []birthStep `json:"steps"`
}

type birthStep struct {
	Step     int       `json:"step"` // 0: one of tropo's own
	Name     string    `json:"name"`
	Part     string    `json:"part"`
	Detail   string    `json:"detail"`
	Note     string    `json:"note"`
	Error    string    `json:"error"`
	Start    time.Time `json:"start"`
	Duration int64     `json:"duration_ns"`
}

func traceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "trace SERVER",
		Short: "Print the birth of a server step by step",
		Long: `Print the classic 29 steps of a server's birth, each with its start relative to
the request and its duration. SERVER is an id or a name. The cloud is that of
OS_CLOUD or OS_AUTH_URL, or else the one of the state folder.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, _ := cmd.Flags().GetString("state")
			c, err := computeClient(cmd.Context(), dir)
			if err != nil {
				return err
			}
			id, err := findServer(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var doc struct {
				Birth birth `json:"birth"`
			}
			res, err := c.Get(cmd.Context(), c.ServiceURL("servers", id, "tropo-birth"), &doc, nil)
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			return printBirth(cmd.OutOrStdout(), args[0], doc.Birth)
		},
	}
}

func printBirth(w io.Writer, name string, b birth) error {
	_, _ = fmt.Fprintf(w, "server %s (%s), %s\n", name, b.ServerID, b.Status)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "STEP\tAT ms\tTOOK ms\tPART\tWHAT\tNOTE")
	var first time.Time
	for _, s := range b.Steps {
		if s.Step >= 3 && (first.IsZero() || s.Start.Before(first)) {
			first = s.Start
		}
	}
	for _, s := range b.Steps {
		step := "+"
		if s.Step > 0 {
			step = strconv.Itoa(s.Step)
		}
		note := strings.Trim(strings.Join([]string{s.Note, s.Detail, s.Error}, " "), " ")
		_, _ = fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%s\t%s\t%s\n", step, s.Start.Sub(first).Seconds()*1000, float64(s.Duration)/1e6, s.Part, s.Name, note)
	}
	return t.Flush()
}

// computeClient logs in by the environment, or by the state folder's
// clouds.yaml.
func computeClient(ctx context.Context, dir string) (*gophercloud.ServiceClient, error) {
	o, region, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	p, err := openstack.AuthenticatedClient(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("log in at %s: %w", o.IdentityEndpoint, err)
	}
	return openstack.NewComputeV2(p, gophercloud.EndpointOpts{Region: region})
}

func credentials(dir string) (gophercloud.AuthOptions, string, error) {
	if os.Getenv("OS_AUTH_URL") != "" {
		o, err := openstack.AuthOptionsFromEnv()
		return o, os.Getenv("OS_REGION_NAME"), err
	}
	file, cloud := filepath.Join(dir, "clouds.yaml"), "tropo"
	if f := os.Getenv("OS_CLIENT_CONFIG_FILE"); f != "" {
		file = f
	}
	if c := os.Getenv("OS_CLOUD"); c != "" {
		cloud = c
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return gophercloud.AuthOptions{}, "", fmt.Errorf("which cloud? set OS_CLOUD or --state: %w", err)
	}
	var doc struct {
		Clouds map[string]struct {
			Auth struct {
				URL      string `yaml:"auth_url"`
				Username string `yaml:"username"`
				Password string `yaml:"password"`
				Project  string `yaml:"project_name"`
				DomainID string `yaml:"user_domain_id"`
				Domain   string `yaml:"user_domain_name"`
			} `yaml:"auth"`
			Region string `yaml:"region_name"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return gophercloud.AuthOptions{}, "", fmt.Errorf("read %s: %w", file, err)
	}
	c, ok := doc.Clouds[cloud]
	if !ok {
		return gophercloud.AuthOptions{}, "", fmt.Errorf("%s has no cloud %s", file, cloud)
	}
	return gophercloud.AuthOptions{
		IdentityEndpoint: c.Auth.URL, Username: c.Auth.Username, Password: c.Auth.Password,
		TenantName: c.Auth.Project, DomainID: c.Auth.DomainID, DomainName: c.Auth.Domain,
	}, c.Region, nil
}

// findServer takes an id or a name.
func findServer(ctx context.Context, c *gophercloud.ServiceClient, ref string) (string, error) {
	res, err := c.Get(ctx, c.ServiceURL("servers", url.PathEscape(ref)), nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusNotFound}, KeepResponseBody: true})
	if err != nil {
		return "", err
	}
	_ = res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return ref, nil
	}
	var list struct {
		Servers []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"servers"`
	}
	res, err = c.Get(ctx, c.ServiceURL("servers")+"?limit=1000", nil, &gophercloud.RequestOpts{KeepResponseBody: true})
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(&list); err != nil {
		return "", err
	}
	for _, s := range list.Servers {
		if s.Name == ref {
			return s.ID, nil
		}
	}
	return "", fmt.Errorf("%w: %s", errNoServer, ref)
}
