package driver

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// DHCPOption is one of a port's extra DHCP options.
type DHCPOption struct {
	Name  string // dnsmasq's option name ("bootfile-name") or number
	Value string
	IPv6  bool
}

// The forms that values of DHCP options have.
type dhcpForm int

const (
	formText dhcpForm = iota
	formAddress
	formAddresses
	formNumber // 32 bits
	formNumber16
	formNumber8
	formBool
)

// dhcpOption describes an option: its name in OVN's tables and its form.
type dhcpOption struct {
	ovn  string
	form dhcpForm
}

// dhcpV4 has the options that dnsmasq names (dnsmasq --help dhcp) or IANA
// numbers (RFC 2132), as far as OVN (ovn-nb(5), DHCP_Options) knows them.
func dhcpV4(name string) (dhcpOption, bool) {
	switch name {
	case "netmask", "1":
		return dhcpOption{"netmask", formAddress}, true
	case "router", "3":
		return dhcpOption{"router", formAddress}, true
	case "dns-server", "6":
		return dhcpOption{"dns_server", formAddresses}, true
	case "log-server", "7":
		return dhcpOption{"log_server", formAddresses}, true
	case "lpr-server", "9":
		return dhcpOption{"lpr_server", formAddresses}, true
	case "hostname", "12":
		return dhcpOption{"hostname", formText}, true
	case "domain-name", "15":
		return dhcpOption{"domain_name", formText}, true
	case "ip-forward-enable", "19":
		return dhcpOption{"ip_forward_enable", formBool}, true
	case "default-ttl", "23":
		return dhcpOption{"default_ttl", formNumber8}, true
	case "mtu", "26":
		return dhcpOption{"mtu", formNumber16}, true
	case "broadcast", "28":
		return dhcpOption{"broadcast_address", formAddress}, true
	case "nis-server", "41":
		return dhcpOption{"nis_server", formAddresses}, true
	case "ntp-server", "42":
		return dhcpOption{"ntp_server", formAddresses}, true
	case "netbios-ns", "44":
		return dhcpOption{"netbios_name_server", formAddresses}, true
	case "lease-time", "51":
		return dhcpOption{"lease_time", formNumber}, true
	case "T1", "58":
		return dhcpOption{"T1", formNumber}, true
	case "T2", "59":
		return dhcpOption{"T2", formNumber}, true
	case "tftp-server", "66":
		return dhcpOption{"tftp_server", formText}, true
	case "bootfile-name", "67":
		return dhcpOption{"bootfile_name", formText}, true
	case "domain-search", "119":
		return dhcpOption{"domain_search_list", formText}, true
	case "tftp-server-address", "server-ip-address", "150":
		return dhcpOption{"tftp_server_address", formAddresses}, true
	case "path-prefix", "210":
		return dhcpOption{"path_prefix", formText}, true
	case "wpad", "252":
		return dhcpOption{"wpad", formText}, true
	}
	return dhcpOption{}, false
}

// dhcpV6 is the same for DHCPv6.
func dhcpV6(name string) (dhcpOption, bool) {
	switch name {
	case "dns-server", "23":
		return dhcpOption{"dns_server", formAddresses}, true
	case "domain-search", "24":
		return dhcpOption{"domain_search", formText}, true
	}
	return dhcpOption{}, false
}

var dhcpText = regexp.MustCompile(`^[0-9A-Za-z ._:/?&=%+,@~#-]{1,255}$`)

// maxDHCPAddresses bounds a list of addresses in an option.
const maxDHCPAddresses = 16

// Translate returns the option's name and value as OVN's DHCP_Options writes
// them. supported is false for names that this dataplane can't send: they are
// kept in the API and ignored, as in Neutron. The error is a fault.Invalid for
// a value that isn't of the option's form; control characters, quotes and
// braces are in none (CVE-2021-40085).
func (o DHCPOption) Translate() (name, value string, supported bool, err error) {
	lookup := dhcpV4
	if o.IPv6 {
		lookup = dhcpV6
	}
	d, ok := lookup(strings.TrimPrefix(o.Name, "option:"))
	if !ok {
		return "", "", false, nil
	}
	value, ok = d.form.write(o.Value, o.IPv6)
	if !ok {
		return "", "", true, fault.Invalidf("Invalid value %q of the extra DHCP option %q.", o.Value, o.Name)
	}
	return d.ovn, value, true, nil
}

func (f dhcpForm) write(v string, v6 bool) (string, bool) {
	switch f {
	case formNumber, formNumber16, formNumber8:
		bits := map[dhcpForm]int{formNumber: 32, formNumber16: 16, formNumber8: 8}[f]
		n, err := strconv.ParseUint(v, 10, bits)
		return strconv.FormatUint(n, 10), err == nil
	case formBool:
		return v, v == "0" || v == "1"
	case formText:
		return `"` + v + `"`, dhcpText.MatchString(v)
	}
	list := strings.Split(v, ",")
	if len(list) > maxDHCPAddresses || (f == formAddress && len(list) != 1) {
		return "", false
	}
	for i, s := range list {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil || a.Is4() == v6 || a.Zone() != "" {
			return "", false
		}
		list[i] = a.String()
	}
	if len(list) == 1 {
		return list[0], true
	}
	return "{" + strings.Join(list, ", ") + "}", true
}
