package httpapi

import "testing"

func TestHosts_HaveEveryAddressAndTheirOwnNames(t *testing.T) {
	all := newHosts("Millrace.internal:8000", []string{"tasks.example.com"})
	for host, want := range map[string]bool{
		"10.1.2.3": true, "10.1.2.3:8000": true, "10.1.2.3.": true, "0.0.0.0:8000": true,
		"[2001:db8::1]": true, "[2001:db8::1]:8000": true, "2001:db8::1": true, "[::ffff:10.1.2.3]:80": true, "[fe80::1%25eth0]:8000": true,
		"": true, // HTTP/1.0, as some balancers ask
		// What looks like an address to people or to a resolver, and may be a name.
		"10.1.2": false, "10.1.2.3.4": false, "010.1.2.3": false, "0x0a010203": false, "167838211": false, "10.1.2.256": false,
		"10.1.2.3.evil.example": false, "10-1-2-3.evil.example": false, "10.1.2.3:8000:8000": false, "[evil.example]": false,
		"millrace.internal": true, "tasks.example.com:443": true, "evil.example": false, "*": false,
	} {
		if got := all.has(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}
