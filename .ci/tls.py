#!/usr/bin/env python3
"""Whether four scanners saw the same of one server: versions, suites of each version, groups, whose order counts.

Usage: tls.py OURS.json NMAP.xml|- [SSLSCAN.xml SSLYZE.json]
Each of the others is taken at its word for what it asked: what it found, and what it says was refused."""
import json
import sys
import xml.etree.ElementTree as ET

VERSIONS = {"VersionSSL30": "SSLv3", "VersionTLS10": "TLSv1.0", "VersionTLS11": "TLSv1.1", "VersionTLS12": "TLSv1.2", "VersionTLS13": "TLSv1.3"}
# sslyze's words, by ours.
SSLYZE = {"SSLv3": "ssl_3_0", "TLSv1.0": "tls_1_0", "TLSv1.1": "tls_1_1", "TLSv1.2": "tls_1_2", "TLSv1.3": "tls_1_3"}

wrong = []


def same(who, what, ours, theirs):
    """Sets of names must be equal."""
    if ours != theirs:
        wrong.append(f"{who}, {what}: ours alone {sorted(ours - theirs)}, theirs alone {sorted(theirs - ours)}")


ours = {VERSIONS[v["version"]]: v for v in json.load(open(sys.argv[1]))["versions"]}
names = {v: {s["iana"] for s in seen["suites"]} for v, seen in ours.items()}
codes = {v: {int(s["code"], 16) for s in seen["suites"]} for v, seen in ours.items()}


def nmap():
    """It asks for every suite of the registry; it knows neither groups nor what is refused."""
    script = ET.parse(sys.argv[2]).find(".//script[@id='ssl-enum-ciphers']")
    seen = {}
    for table in script.findall("table") if script is not None else []:
        found = {s.text.replace("TLS_AKE_WITH_", "TLS_") for s in table.findall("./table[@key='ciphers']/table/elem[@key='name']")}
        seen[table.get("key")] = found
        preference = table.findtext("./elem[@key='cipher preference']")
        order = {"client": "Client", "server": "Server"}.get(preference)
        if order and table.get("key") in ours and ours[table.get("key")]["order"] != order:
            wrong.append(f"nmap, order of {table.get('key')}: ours {ours[table.get('key')]['order']}, theirs {order}")
    same("nmap", "versions", set(names), set(seen))
    for version in set(names) & set(seen):
        same("nmap", f"suites of {version}", names[version], seen[version])


def sslscan_and_sslyze():
    """The two that finish their handshakes with OpenSSL."""
    # sslscan asks with OpenSSL, and by hand for what that lacks. It searches groups in TLS 1.3, and in TLS 1.2 with RSA keys alone.
    scan = ET.parse(sys.argv[3]).find("ssltest")
    found = {}
    for cipher in scan.findall("cipher"):
        found.setdefault(cipher.get("sslversion"), set()).add(int(cipher.get("id"), 16))
    same("sslscan", "versions", set(codes), set(found))
    for version in set(codes) & set(found):
        same("sslscan", f"suites of {version}", {hex(c) for c in codes[version]}, {hex(c) for c in found[version]})
    groups = {}
    for group in scan.findall("group"):
        groups.setdefault(group.get("sslversion"), set()).add(group.get("name").split(" ")[0].lower())
    unknown_to_sslscan = {"x25519mlkem768", "secp256r1mlkem768", "secp384r1mlkem1024", "brainpoolp256r1", "brainpoolp384r1", "brainpoolp512r1"}
    for version in ("TLSv1.2", "TLSv1.3"):
        if version in ours and (version in groups or version == "TLSv1.3"):
            mine = {g.lower() for g in ours[version]["groups"]} - unknown_to_sslscan
            same("sslscan", f"groups of {version}", mine, groups.get(version, set()))

    # sslyze says of everything that it asked whether it was accepted or refused.
    result = json.load(open(sys.argv[4]))["server_scan_results"][0]["scan_result"]
    for version, word in SSLYZE.items():
        attempt = result[f"{word}_cipher_suites"]
        if attempt["status"] != "COMPLETED":
            wrong.append(f"sslyze, {version}: {attempt['error_reason']}")
            continue
        accepted = {s["cipher_suite"]["name"] for s in attempt["result"]["accepted_cipher_suites"]}
        asked = accepted | {s["cipher_suite"]["name"] for s in attempt["result"]["rejected_cipher_suites"]}
        same("sslyze", f"suites of {version}", names.get(version, set()) & asked, accepted)

    curves = result["elliptic_curves"]["result"]
    if curves and curves["supports_ecdh_key_exchange"]:
        accepted = {c["name"].lower() for c in curves["supported_curves"]}
        asked = accepted | {c["name"].lower() for c in curves["rejected_curves"]}
        same("sslyze", "groups", {g.lower() for v in ours.values() for g in v["groups"]} & asked, accepted)


asked = []
if sys.argv[2] != "-":
    nmap()
    asked.append("nmap")
if len(sys.argv) > 3:
    sslscan_and_sslyze()
    asked += ["sslscan", "sslyze"]
told = ", ".join(f"{v}: {len(s['suites'])} suites, {len(s['groups'])} groups" for v, s in ours.items())
for line in wrong:
    print(f"DIFFERENT: {line}", file=sys.stderr)
if not wrong:
    print(f"ok: what {', '.join(asked)} saw is what we see ({told})")
sys.exit(1 if wrong else 0)
