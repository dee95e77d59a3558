package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Listener is a name and an address.
type Listener struct {
	Name, Host string
	Port       int32
}

// Address is host:port, with brackets around an IPv6 host.
func (l Listener) Address() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(l.Port))
}

// String is NAME://host:port.
func (l Listener) String() string { return l.Name + "://" + l.Address() }

// On is the listener with hostname for its host if it is on every address.
func (l Listener) On(hostname string) Listener {
	if l.Host == "" || l.Host == "0.0.0.0" || l.Host == "::" {
		l.Host = hostname
	}
	return l
}

// ParseListeners reads NAME://host:port,... Names are unique; a host may be empty.
func ParseListeners(value string) ([]Listener, error) {
	var all []Listener
	for _, one := range SplitList(value) {
		l, err := parseListener(one)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].Name == l.Name {
				return nil, fmt.Errorf("listener %s is named twice", l.Name)
			}
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("at least one listener is needed")
	}
	return all, nil
}

func parseListener(s string) (Listener, error) {
	name, address, ok := strings.Cut(s, "://")
	colon := strings.LastIndexByte(address, ':')
	if !ok || name == "" || colon < 0 {
		return Listener{}, fmt.Errorf("listener %q is not NAME://host:port", s)
	}
	port, err := strconv.ParseUint(address[colon+1:], 10, 16)
	if err != nil {
		return Listener{}, fmt.Errorf("listener %q: the port must be from 0 to 65535", s)
	}
	host := address[:colon]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return Listener{}, fmt.Errorf("listener %q: an IPv6 address needs brackets", s)
	}
	return Listener{Name: strings.ToUpper(name), Host: host, Port: int32(port)}, nil
}

// FormatListeners is the reverse of ParseListeners.
func FormatListeners(all []Listener) string {
	var out []string
	for _, l := range all {
		out = append(out, l.String())
	}
	return strings.Join(out, ",")
}

// Advertise says where clients reach each listener that is bound: as advertised,
// else where it is bound. A listener on every address has hostname for its host; an
// advertised port 0 is the bound one.
func (b *Broker) Advertise(bound []Listener, hostname string) []Listener {
	out := make([]Listener, len(bound))
	for i, l := range bound {
		l = l.On(hostname)
		for _, a := range b.AdvertisedListeners {
			if a.Name != l.Name {
				continue
			}
			l.Host = a.Host
			if a.Port != 0 {
				l.Port = a.Port
			}
		}
		out[i] = l
	}
	return out
}
