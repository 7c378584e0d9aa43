"""Names for ports that a rule of Proxmox VE's firewall can say (pve-firewall's `$pve_fw_macros`), as far as they
stand for ports alone. 8 and 9 have all of them."""

from __future__ import annotations

TEXT = """
SSH tcp 22
Web tcp 80; tcp 443
HTTP tcp 80
HTTPS tcp 443
Mail tcp 25; tcp 465; tcp 587
SMTP tcp 25
SMTPS tcp 465
Submission tcp 587
IMAP tcp 143
IMAPS tcp 993
POP3 tcp 110
POP3S tcp 995
Ping icmp echo-request
RDP tcp 3389
DNS udp 53; tcp 53
NTP udp 123
FTP tcp 21
MySQL tcp 3306
PostgreSQL tcp 5432
MSSQL tcp 1433
OpenVPN udp 1194
L2TP udp 1701
IPsecnat udp 500; udp 4500; 50
LDAP tcp 389
LDAPS tcp 636
Rsync tcp 873
Git tcp 9418
SVN tcp 3690
Squid tcp 3128
Webcache tcp 8080
Webmin tcp 10000
VNC tcp 5900:5999
Syslog udp 514; tcp 514
SNMP udp 161:162; tcp 161
Munin tcp 4949
MDNS udp 5353
TFTP udp 69
Telnet tcp 23
IRC tcp 6667
BitTorrent tcp 6881:6889; udp 6881
Trcrt udp 33434:33524; icmp echo-request
"""


def _ports(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [p.split() for p in text.split(";")]
    return tuple((p[0], p[1] if len(p) > 1 else "") for p in pairs)


MACROS = {name: _ports(rest) for name, _, rest in (line.partition(" ") for line in TEXT.strip().splitlines())}
