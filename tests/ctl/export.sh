#!/bin/bash
# sekisho export: what nft, ipset, postmap and sqlite3 make of it is what the policy says.
# SPDX-License-Identifier: BSD-2-Clause
#
# export.sh BUILD: the folder with ctl/sekisho. One line for each failed case, last
# "N passed, N failed"; exit status 1 if one failed.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: export.sh BUILD}" && pwd) || exit 1
cases=${SEKISHO_CASES:?}
tool=$build/ctl/sekisho
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# shellcheck source=tests/ctl/lib.sh
. "$here/lib.sh"
ulimit -f 400000 # KiB: whatever goes wrong, the disk stays

run()
{
    timeout 100 "$tool" --policy policy.db --state state.db "$@" > out 2> err
    ended=$?
    if grep -q 'Sanitizer\|runtime error' err; then fail "$*: $(cat err)"; fi
}

for program in nft ipset postmap sqlite3 unshare; do
    command -v $program > /dev/null || fail "$program is not there (tests/run installs it)"
done
fresh() { cp fresh.db policy.db; }
"$tool" --policy fresh.db init --domain example.jp --hostname mail.example.jp > /dev/null
db state.db < "$here/../../schema/state.sql" && db state.db "PRAGMA journal_mode=WAL" > /dev/null
fresh

# ---- words ----------------------------------------------------------------------------------
while IFS='|' read -r words want; do
    # shellcheck disable=SC2086  # a list of words
    run export $words; ends "export $words" 2; says "export $words" "sekisho: $want"
done <<'END'
|export takes nft, ipset, postfix-cidr or sql
pf|export takes nft
nft ipset|export takes nft
nft --frob|--frob is not an option of export
sql --blocks|--blocks is for nft and ipset
postfix-cidr --blocks|--blocks is for nft and ipset
END
for format in nft ipset postfix-cidr sql; do
    mv policy.db away
    run export $format; ends "$format without a policy" 4; says "$format without a policy" "sekisho init makes one"
    mv away policy.db
    db policy.db "PRAGMA ignore_check_constraints=1; INSERT INTO own_name(name) VALUES('')"
    run export $format; ends "$format of a bad policy" 3; says "$format of a bad policy" "own_name 2: name is not a domain"
    if [ -s out ]; then fail "$format of a bad policy: $(head -c 2000 out)"; else pass; fi
    db policy.db "DROP TABLE version; CREATE TABLE version(schema INTEGER); INSERT INTO version VALUES(9)"
    run export $format; ends "$format of a newer policy" 3; says "$format of a newer policy" "made by a newer sekisho"
    fresh
    "$tool" --policy policy.db export $format > /dev/full 2> err; ended=$?
    ends "$format to a full disk" 2; says "$format to a full disk" "standard output: No space left on device"
    "$tool" --policy policy.db export $format 2> err | true
    if grep -q Sanitizer err; then fail "$format to a broken pipe: $(cat err)"; else pass; fi
done
run --state absent/state.db export nft --blocks; : > out
"$tool" --policy policy.db --state absent.db export nft --blocks > out 2> err; ended=$?
ends "blocks without a state" 4; says "blocks without a state" "absent.db"
if [ -s out ]; then fail "blocks without a state: $(head -c 2000 out)"; else pass; fi

# ---- nobody is refused where nobody is --------------------------------------------------------
db policy.db "INSERT INTO ip_range(range) VALUES('192.0.2.0/24')"
run export nft; ends "one range" 0; says "one range" "192.0.2.0/24,"
for words in "check_mode SET mode='observe' WHERE \"check\"='listed'" "setting SET value='observe' WHERE name='mode'"; do
    cp policy.db before.db
    db policy.db "UPDATE $words"
    for format in nft ipset postfix-cidr; do
        run export $format; ends "$words: $format" 0
        silent "$words: $format" "192.0.2.0"; says "$words: $format" "# The check listed is not enforced"
    done
    mv before.db policy.db
done
cp policy.db before.db
db state.db "INSERT INTO block(subject) VALUES('client:198.51.100.7')"
db policy.db "UPDATE check_mode SET mode='observe' WHERE \"check\"='listed'"
for format in nft ipset; do
    run export $format --blocks; ends "listed observed: $format" 0; says "listed observed: $format" "198.51.100.7" "# The check listed is not enforced (check_mode, setting mode): strangers and everyone are empty."
    silent "listed observed: $format" "nobody is refused" "check block is not"
    run export $format; says "listed observed, no blocks: $format" ": strangers and everyone are empty."
done
run export postfix-cidr; says "listed observed: postfix-cidr" "(check_mode, setting mode): nobody is refused."
db policy.db "UPDATE check_mode SET mode='observe' WHERE \"check\"='block'"
for format in nft ipset; do
    run export $format --blocks; says "both observed: $format" "# The check block is not enforced (check_mode, setting mode): blocked is empty."; silent "both observed: $format" "198.51.100.7"
    run export $format; silent "both observed, no blocks: $format" "check block is not"
done
db state.db "DELETE FROM block"
mv before.db policy.db
run export nft --blocks; silent "enforced" "not enforced"
run export postfix-cidr; says "who only receives" "receive_only" "postmaster and abuse" "check_recipient_access" "reject_unauth_destination"
db policy.db "UPDATE ip_range SET expires='2099-01-02 03:04:05'"
run export ipset; says "an expiry" "# Rows expire: good until 2099-01-02 03:04:05 UTC" "add sekisho-strangers4-new 192.0.2.0/24"

# postmap reads a main.cf; this machine's is not asked
mkdir postfix && printf 'compatibility_level = 3.6\ninet_interfaces = 127.0.0.1\nmyhostname = mail.example.jp\n' > postfix/main.cf

# ---- everything at once, against explain and an independent reading ----------------------------
cat > compare.py <<'END'
import bisect, ipaddress, json, os, random, re, shutil, sqlite3, subprocess, sys
tool, kernels = sys.argv[1], sys.argv[3:]
passed = failed = 0
def check(good, *what):
    global passed, failed
    passed += bool(good); failed += not good
    if not good and failed < 20: print("FAILED", *what)
def run(*words, **more):
    with open("said", "w+b") as said:  # a file: ulimit holds there
        ended = subprocess.run(words, stdout=said, stderr=subprocess.STDOUT, timeout=100, **more)
        said.seek(0)
        return ended.returncode, said.read().decode()
def sekisho(*words): return run(tool, "--policy", "policy.db", "--state", "state.db", *words)
def number(text): return int(ipaddress.ip_address(text))
def ends(text):
    if "-" in text: return tuple(number(t) for t in text.split("-"))
    net = ipaddress.ip_network(text)
    return int(net[0]), int(net[-1])

# -- a policy of ranges that overlap and cross, in a few thousand addresses of each family
def make(seed):
    chance = random.Random(seed)
    base = {4: number("10.7.0.0"), 6: number("2001:db8:7::")}
    cls = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}
    rows = []
    def some():
        family = chance.choice((4, 6))
        if chance.random() < 0.5:
            bits = chance.choice((0, 0, 2, 4, 6, 8, 10))
            first = base[family] + (chance.randrange(4096) >> bits << bits)
            last = first + (1 << bits) - 1
        else:
            first = base[family] + chance.randrange(4096)
            last = first + chance.choice((0, 1, 2, 5, 30, 100, 700))
        if chance.random() < 0.02:
            return family, 0, 2 ** (32 if family == 4 else 128) - 1, "0.0.0.0/0" if family == 4 else "::/0"
        if chance.random() < 0.05 and family == 6:  # around where IPv4 stands inside IPv6
            text = chance.choice(("::/80", "::fffe:0:0/95", "::2-::fffe:ffff:ffff", "::fffe:ffff:ffff-::1:0:0:0", "::fffe:0:7-2001:db8:7::5"))
            return family, *ends(text), text
        if chance.random() < 0.05 and family == 4: first, last = 2 ** 32 - 1 - chance.randrange(300), 2 ** 32 - 1
        if chance.random() < 0.05 and family == 4: first, last = 0, chance.randrange(300)
        if chance.random() < 0.05 and family == 6: first, last = 2 ** 128 - 1 - chance.randrange(300), 2 ** 128 - 1
        text = str(cls[family](first)) if first == last else f"{cls[family](first)}-{cls[family](last)}"
        return family, first, last, text
    shutil.copy("fresh.db", "policy.db")
    db = sqlite3.connect("policy.db")
    for _ in range(chance.choice((8, 60, 200))):
        family, first, last, text = some()
        verdict = chance.choice(("accept", "tempfail", "reject", "reject"))
        who = chance.choice(("strangers", "strangers", "everyone"))
        source = chance.choice((None, None, "a", "b"))
        expires = chance.choice((None,) * 6 + ("2020-01-01 00:00:00", "2099-01-01 00:00:00"))
        try: row = db.execute("INSERT INTO ip_range(range,verdict,applies_to,source,expires) VALUES(?,?,?,?,?)", (text, verdict, who, source, expires))
        except sqlite3.IntegrityError: continue
        if expires != "2020-01-01 00:00:00":
            rows.append((family, first, last, verdict, who, source, row.lastrowid))
    hosts = [(4, *ends("127.0.0.0/8")), (6, 1, 1)]
    for _ in range(6):
        family, first, last, text = some()
        if last - first > 1000: continue
        try: db.execute("INSERT INTO client_host(range) VALUES(?)", (text,)); hosts.append((family, first, last))
        except sqlite3.IntegrityError: pass
    exempt = {"listed": [], "block": []}
    for _ in range(chance.choice((0, 5))):
        family, first, last, text = some()
        what = chance.choice(("listed", "block", "helo"))
        try: db.execute('INSERT INTO exemption(range,"check",sender) VALUES(?,?,?)', (text, what, chance.choice((None, "@example.org"))))
        except sqlite3.IntegrityError: continue
        exempt.get(what, []).append((family, first, last))
    prefix = chance.choice((32, 32, 28))
    db.execute("UPDATE setting SET value=? WHERE name='client_prefix_ipv4'", (str(prefix),))
    db.execute("UPDATE setting SET value='65536' WHERE name IN ('client_host_most_ipv6','client_host_most')")
    db.commit(); db.close()
    state, blocks = sqlite3.connect("state.db"), []
    state.execute("DELETE FROM block")
    for n in range(40):
        family = chance.choice((4, 6))
        at = base[family] + chance.randrange(4096) + (chance.randrange(9) << 64 if family == 6 else 0)
        wide = chance.choice((32, 28)) if family == 4 else chance.choice((64, 64, 56, 128))
        net = ipaddress.ip_network((at, wide), strict=False)
        kind = chance.choice(("client", "client", "client", "relay", "identity"))
        until = chance.choice((None, "2020-01-01 00:00:00", "2099-01-01 00:00:00"))
        shown = "taro%d" % n if kind == "identity" else str(net[0]) if net.prefixlen == net.max_prefixlen else str(net)
        try: state.execute("INSERT INTO block(subject,until) VALUES(?,?)", (f"{kind}:{shown}", until))
        except sqlite3.IntegrityError: continue
        # an address stands for its network of today; a network of another client_prefix says nothing
        today = prefix if family == 4 else 64
        if kind == "client" and until != "2020-01-01 00:00:00" and wide in (today, net.max_prefixlen):
            counted = ipaddress.ip_network((int(net[0]), today), strict=False)
            blocks.append((family, int(counted[0]), int(counted[-1])))
    state.commit(); state.close()
    return rows, hosts, exempt, blocks

# -- what the design says (1.3, 1.4), read again
strict = {"accept": 0, "tempfail": 1, "reject": 2}
def holds(items, family, at): return any(f == family and a <= at <= b for f, a, b in items)
def listed(policy, family, at, login):
    rows, hosts = policy[0], policy[1]
    own = [(b - a, -strict[v], i, v) for f, a, b, v, who, source, i in rows
           if f == family and a <= at <= b and source is None and (not login or who == "everyone")]
    own += [(b - a, 0, 0, "accept") for f, a, b in hosts if f == family and a <= at <= b]
    imported = [(b - a, -strict[v], i, v) for f, a, b, v, who, source, i in rows
                if f == family and a <= at <= b and source is not None and (not login or who == "everyone")]
    return min(own or imported or [(0, 0, 0, None)])[3]
def wanted(policy, family, at):
    rows, hosts, exempt, blocks = policy
    word = listed(policy, family, at, False)
    strangers = word == "reject" and not holds(exempt["listed"], family, at)
    everyone = strangers and listed(policy, family, at, True) == "reject"
    host = holds(hosts, family, at) and word not in ("reject", "tempfail")
    blocked = holds(blocks, family, at) and not host and not holds(exempt["block"], family, at)
    spared = holds(exempt["listed"], family, at)
    return strangers, everyone, blocked, "accept" if spared else word
def explained(text):
    said = json.loads(sekisho("--json", "explain", "--client", text, "--from", "x@example.net", "--to", "x@example.jp")[1])
    votes = {step["check"]: step for step in said["checks"]}
    login = json.loads(sekisho("--json", "explain", "--client", text, "--login", "taro", "--from", "taro@example.jp", "--to", "x@example.jp", "--at", "2027-01-01 00:00:00")[1])
    alone = json.loads(sekisho("--json", "explain", "--client", text, "--from", "x@example.net", "--to", "x@example.jp", "--at", "2027-01-01 00:00:00")[1])
    find = lambda s: [step for step in s["checks"] if step["check"] == "listed"][0]
    return votes["block"]["vote"], find(alone)["reason"], find(alone)["vote"], find(login)["reason"]

# -- what the programs have
class Sets:
    def __init__(self): self.items = {}
    def add(self, name, first, last, timeout=None): self.items.setdefault(name, []).append((first, last, timeout))
    def close(self):
        for name in self.items: self.items[name].sort(key=lambda item: item[:2])
    def has(self, name, at):
        items = self.items.get(name, [])
        n = bisect.bisect_right(items, at, key=lambda item: item[0]) if sys.version_info >= (3, 10) else sum(i[0] <= at for i in items)
        return n > 0 and items[n - 1][1] >= at
# the texts, read without the programs: they say the same where a kernel has no such sets
def fits(name, text):
    versions = {ipaddress.ip_address(t.split("/")[0]).version for t in text.split("-")}
    check(versions == {int(name[-1])}, "not of its family:", name, text)
    return versions == {int(name[-1])}
def text_nft(text):
    sets, name = Sets(), None
    for line in text[text.index("\ntable inet sekisho {"):].splitlines():
        words = line.strip(" \t,").split()
        if words[:1] == ["set"]: name = words[1]
        elif line.startswith("\t\t\t") and fits(name, words[0]):
            sets.add(name, *ends(words[0]), words[2].rstrip("s") if len(words) > 2 else None)
    sets.close()
    return sets
def text_ipset(text):
    sets, taken = Sets(), set()
    for words in (line.split() for line in text.splitlines()):
        if words[:1] == ["swap"]: taken.add((words[1], words[2]))
        if words[:1] != ["add"]: continue
        name = words[1][len("sekisho-"):-len("-new")]
        check(words[1].endswith("-new") and not words[2].endswith("/0") and "-" not in words[2], "ipset takes no", words)
        if fits(name, words[2]): sets.add(name, *ends(words[2]), words[4] if len(words) > 3 else "0")
    check(all(("sekisho-%s-new" % name, "sekisho-%s" % name) in taken for name in sets.items), "not swapped in:", taken)
    sets.close()
    return sets
# load NAME TEXT WHAT: {"nft text": sets, "nft": sets of the kernel, if it has any}
def load(name, text, *what):
    got = {name + " text": (text_nft if name == "nft" else text_ipset)(text)}
    if name in kernels:
        code, said = run(*(("nft", "-f", "-") if name == "nft" else ("ipset", "restore")), input=text.encode())
        check(code == 0, *what, name, said[:500])
        got[name] = (from_nft if name == "nft" else from_ipset)()
    return got
def postmap(texts):
    code, said = run("postmap", "-c", "postfix", "-q", "-", "cidr:" + os.path.abspath("cidr"), input="\n".join(texts).encode())
    check("warning" not in said and "fatal" not in said, "postmap:", said[:500])
    return dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
def from_nft():
    sets = Sets()
    for entry in json.loads(run("nft", "-j", "list", "table", "inet", "sekisho")[1])["nftables"]:
        for element in entry.get("set", {}).get("elem", []):
            timeout = None
            if isinstance(element, dict) and "elem" in element: timeout, element = element["elem"].get("timeout"), element["elem"]["val"]
            if isinstance(element, str): first = last = number(element)
            elif "range" in element: first, last = (number(t) for t in element["range"])
            else: first, last = ends("%s/%d" % (element["prefix"]["addr"], element["prefix"]["len"]))
            sets.add(entry["set"]["name"], first, last, timeout)
    sets.close()
    return sets
def from_ipset():
    sets = Sets()
    for line in run("ipset", "save")[1].splitlines():
        words = line.split()
        if words[0] == "add": sets.add(words[1][len("sekisho-"):], *ends(words[2]), words[4] if len(words) > 3 else None)
        if words[0] == "create": check(not words[1].endswith("-new"), "left over:", line)
    sets.close()
    return sets

def one(seed):
    policy = make(seed)
    code, nft = sekisho("export", "nft", "--blocks"); check(code == 0, seed, "export nft", nft)
    code, ipset = sekisho("export", "ipset", "--blocks"); check(code == 0, seed, "export ipset", ipset)
    code, cidr = sekisho("export", "postfix-cidr"); check(code == 0, seed, "export postfix-cidr", cidr)
    open("cidr", "w").write(cidr)
    if "nft" in kernels:
        open("nft", "w").write(nft)
        code, said = run("nft", "-c", "-f", "nft"); check(code == 0, seed, "nft -c", said[:500])
    kernel = {**load("nft", nft, seed), **load("ipset", ipset, seed)}
    if "nft" in kernels:
        if seed == 0:  # a chain of the administrator's stays, whatever is loaded later
            for words in (("chain", "inet", "sekisho", "in", "{ type filter hook input priority -10; }"),
                          ("rule", "inet", "sekisho", "in", "tcp dport 25 ip saddr @strangers4 drop")):
                code, said = run("nft", "add", *words); check(code == 0, said)
        check("strangers4 drop" in run("nft", "list", "chain", "inet", "sekisho", "in")[1], seed, "the chain is gone")
    chance = random.Random(seed)
    edges = {4: {0, 2 ** 32 - 1, number("127.0.0.1")}, 6: {0, 1, 2 ** 128 - 1, number("::ffff:0:0") - 1, number("::1:0:0:0")}}
    for group in (policy[0], policy[1], policy[2]["listed"], policy[2]["block"], policy[3]):
        for family, first, last, *rest in group:
            edges[family] |= {first, last, max(first - 1, 0), min(last + 1, 2 ** (32 if family == 4 else 128) - 1)}
    asked = [(f, at) for f in (4, 6) for at in edges[f]]
    asked += [(4, number("10.7.0.0") + chance.randrange(5000)) for _ in range(300)]
    asked += [(6, number("2001:db8:7::") + chance.randrange(5000)) for _ in range(300)]
    asked = [(f, a) for f, a in asked if f == 4 or not 0 <= a - number("::ffff:0:0") < 2 ** 32]
    texts = [str(ipaddress.IPv4Address(a) if f == 4 else ipaddress.IPv6Address(a)) for f, a in asked]
    answers = postmap(texts)
    for (family, at), text in zip(asked, texts):
        strangers, everyone, blocked, word = wanted(policy, family, at)
        for program, sets in kernel.items():
            got = tuple(sets.has(name + str(family), at) for name in ("strangers", "everyone", "blocked"))
            check(got == (strangers, everyone, blocked), seed, program, text, got, "wanted", (strangers, everyone, blocked))
        verb = {None: None, "accept": "DUNNO", "reject": "REJECT", "tempfail": "DEFER"}[word]
        check((answers.get(text) or "None").split()[0] == str(verb), seed, "postmap", text, answers.get(text), "wanted", verb)
    for at in chance.sample(range(len(asked)), 12):  # the daemon's own judgement
        text = texts[at]
        strangers, everyone, blocked, word = wanted(policy, *asked[at])
        block, reason, vote, login = explained(text)
        check((block == "refuse") == blocked or holds(policy[2]["block"], *asked[at]), seed, "explain: block", text, block, blocked)
        check((reason == "client-listed" and vote == "refuse") == strangers or holds(policy[2]["listed"], *asked[at]), seed, "explain: listed", text, reason, vote, strangers)
        check((login == "client-listed") == everyone or not strangers, seed, "explain: login", text, login, everyone)
    for program, sets in kernel.items():
        timeouts = [timeout for name in ("blocked4", "blocked6") for _, _, timeout in sets.items.get(name, [])]
        if program.startswith("nft"): check(all(t is None or 0 < int(t) <= 31536000 for t in timeouts), seed, program, "timeouts", timeouts[:5])
        else: check(all(0 <= int(t) <= 2147483 for t in timeouts), seed, program, "timeouts", timeouts[:5])
    return any(policy[3]), kernel
seen = 0
for seed in range(int(sys.argv[2])):
    blocks, kernel = one(seed)
    seen += sum(len(v) for v in kernel["nft text"].items.values())
check(seen > 300, "hardly anything was refused:", seen)
# a set that holds all: 0.0.0.0/0 and ::/0
shutil.copy("fresh.db", "policy.db"); db = sqlite3.connect("policy.db")
db.execute("DELETE FROM client_host"); db.execute("INSERT INTO ip_range(range,applies_to) VALUES('0.0.0.0/0','everyone'),('::/0','everyone')"); db.commit(); db.close()
for program, sets in {**load("nft", sekisho("export", "nft")[1], "all:"), **load("ipset", sekisho("export", "ipset")[1], "all:")}.items():
    for name, last in (("4", 2 ** 32 - 1), ("6", 2 ** 128 - 1)):
        for at in (0, last // 3, last // 2, last // 2 + 1, last):
            check(sets.has("strangers" + name, at) and sets.has("everyone" + name, at), "all:", program, name, at)
# ::ffff:0:0/96 is IPv4's: rows of IPv6 that end, begin or go on there say nothing of IPv4
for rows, refused, spared in (
        ("'::2-::fffe:ffff:ffff','0.0.0.0/0'", "::2 ::fffe:ffff:ffff 192.0.2.1", "::1 ::1:0:0:0 2001:db8::1"),
        ("'::/80'", "::2 ::fffe:ffff:ffff", "::1 ::1:0:0:0 0.0.0.0 192.0.2.1 255.255.255.255"),
        ("'::fffe:ffff:ffff-::1:0:0:0'", "::fffe:ffff:ffff ::1:0:0:0", "::fffe:ffff:fffe ::1:0:0:1 0.0.0.0 192.0.2.1 255.255.255.255"),
        ("'::fffe:0:0/95'", "::fffe:0:0 ::fffe:ffff:ffff", "::fffd:ffff:ffff ::1:0:0:0 0.0.0.0 192.0.2.1"),
        ("'::/0'", "::2 ::fffe:ffff:ffff ::1:0:0:0 2001:db8::1", "::1 0.0.0.0 192.0.2.1 255.255.255.255")):
    shutil.copy("fresh.db", "policy.db"); db = sqlite3.connect("policy.db")
    for row in rows.split(","): db.execute("INSERT INTO ip_range(range) VALUES(%s)" % row)
    db.commit(); db.close()
    open("nft", "w").write(sekisho("export", "nft")[1])
    open("cidr", "w").write(sekisho("export", "postfix-cidr")[1])
    answers = postmap((refused + " " + spared).split())
    for program, sets in {**load("nft", open("nft").read(), rows), **load("ipset", sekisho("export", "ipset")[1], rows)}.items():
        for text in (refused + " " + spared).split():
            held = text in refused.split()
            check(sets.has("strangers6" if ":" in text else "strangers4", number(text)) == held, rows, program, text, "wanted", held)
            check((answers.get(text) or "").startswith("REJECT") == held, rows, "postmap", text, answers.get(text), "wanted", held)
# an address without its length is the network of today
for subject, network in (("client:192.0.2.21", "192.0.2.16/28"), ("client:2001:db8:9::5", "2001:db8:9::/64"), ("client:192.0.2.32/28", "192.0.2.32/28"), ("client:192.0.2.64/27", None)):
    shutil.copy("fresh.db", "policy.db"); db = sqlite3.connect("policy.db")
    db.execute("UPDATE setting SET value='28' WHERE name='client_prefix_ipv4'"); db.commit(); db.close()
    db = sqlite3.connect("state.db"); db.execute("DELETE FROM block"); db.execute("INSERT INTO block(subject) VALUES(?)", (subject,)); db.commit(); db.close()
    sets = text_nft(sekisho("export", "nft", "--blocks")[1])
    got = [item[:2] for name in ("blocked4", "blocked6") for item in sets.items.get(name, [])]
    check(got == ([ends(network)] if network else []), subject, got, "wanted", network)
# half a file changes nothing
if "nft" in kernels:
    def ruleset(): return re.sub(r" expires \w+", "", run("nft", "list", "ruleset")[1])
    before = ruleset()
    text = open("nft").read()
    for cut in (text.index("table inet sekisho {") + 25, len(text) // 2 + 200, len(text) - 2):
        code, said = run("nft", "-f", "-", input=text[:cut].encode()); check(code != 0, "half a file was loaded", cut)
    check(ruleset() == before, "half a file changed something")
print(passed, "passed,", failed, "failed")
sys.exit(failed != 0)
END
if unshare -n true 2> /dev/null; then apart="unshare -n"; else apart="unshare -rn"; fi
kernels=() # which programs have a kernel that takes their sets
if $apart nft list ruleset > said 2>&1; then kernels+=(nft)
else fail "nft cannot be loaded here: its text was compared, what a kernel makes of it was not: $(cat said)"; fi
if $apart ipset list > said 2>&1; then kernels+=(ipset)
else fail "ipset cannot be loaded here: its text was compared, what a kernel makes of it was not: $(cat said)"; fi
# in a network of its own: the sets of this machine are not touched
if [ ${#kernels[@]} -gt 0 ]; then
    # shellcheck disable=SC2016,SC2206
    within=($apart sh -c 'ip link set lo up && exec "$@"' sh)
else within=(); fi
if "${within[@]}" python3 compare.py "$tool" 25 "${kernels[@]}"; then pass; else fail "ranges"; fi

# ---- sql --------------------------------------------------------------------------------------
# as_before WHAT: the dump loads into an empty file and is the same policy, the same dump
as_before()
{
    rm -f again.db hit
    run export sql; ends "$1: export" 0; cp out dump.sql
    if LC_ALL=C grep -q '[^[:print:][:space:]]' <(LC_ALL=C tr -d '\200-\377' < dump.sql); then
        fail "$1: control characters in the dump"
    else pass; fi
    if db again.db < dump.sql > said 2>&1; then pass; else fail "$1: $(cat said)"; fi
    if [ -e hit ]; then fail "$1: a shell command was run"; else pass; fi
    "$tool" --policy again.db check > out 2> err; ended=$?; ends "$1: check" 0
    if "$tool" --policy again.db export sql 2>&1 | cmp -s - dump.sql; then pass; else fail "$1: another dump"; fi
    if diff <(db policy.db .dump | sort) <(db again.db .dump | sort) > difference; then pass; else fail "$1: $(head -5 difference)"; fi
    if [ "$(db again.db 'PRAGMA application_id; PRAGMA user_version')" = "$(db policy.db 'PRAGMA application_id; PRAGMA user_version')" ]
    then pass; else fail "$1: other numbers"; fi
}
fresh
as_before "a fresh policy"
db policy.db "INSERT INTO ip_range(range,source,expires) VALUES('192.0.2.1','a','2099-01-01 00:00:00'),('192.0.2.2',NULL,NULL),('192.0.2.3',NULL,NULL);
DELETE FROM ip_range WHERE id=3; UPDATE rate_limit SET allowed=NULL WHERE id=2; CREATE INDEX by_note ON ip_range(note)"
as_before "NULL and a highest id"
if [ "$(db again.db "INSERT INTO ip_range(range) VALUES('192.0.2.9') RETURNING id")" = 4 ]; then pass; else fail "an id was given twice"; fi
# the tables of a file whose rows were put in in another order, and vacuumed, give the same text
fresh; db policy.db "INSERT INTO own_name(id,name) VALUES(9,'a.example'),(5,'b.example')"; run export sql; cp out dump.sql
fresh; db policy.db "INSERT INTO own_name(id,name) VALUES(5,'b.example'); INSERT INTO own_name(id,name) VALUES(9,'a.example'); VACUUM"
run export sql; if cmp -s out dump.sql; then pass; else fail "the order of edits shows"; fi
# a row edited is a line changed
db policy.db "UPDATE own_name SET note='new' WHERE id=5"; run export sql
if [ "$(diff dump.sql out | grep -c '^>')" = 1 ]; then pass; else fail "one edit: $(diff dump.sql out)"; fi
# half a dump is no policy
head -c "$(($(wc -c < dump.sql) - 5))" dump.sql > half.sql; rm -f again.db; sqlite3 again.db < half.sql > /dev/null 2>&1
"$tool" --policy again.db check > out 2> err; ended=$?; ends "half a dump" 3
# what is not the policy's
fresh; db policy.db "CREATE TABLE mine(a); CREATE VIEW look AS SELECT 1; CREATE TRIGGER t AFTER INSERT ON ip_range BEGIN SELECT 1; END"
run export sql; ends "others" 0; says "others" "3 tables, views or triggers that are not the policy's were left out"; silent "others" "CREATE TABLE mine" "CREATE VIEW" "CREATE TRIGGER"
# what somebody wrote behind a table's own text
fresh
sqlite3 policy.db "PRAGMA writable_schema=1; UPDATE sqlite_master SET sql=sql||'; DROP TABLE x;'||char(10)||'.shell touch hit'||char(10) WHERE name='ip_range'"
run export sql; ends "more than a table" 3; says "more than a table" "ip_range: its text in the file is more than one statement"; silent "more than a table" COMMIT
for end in '/* x' '-- x'; do # a comment that is open would hide the semicolon
    fresh
    sqlite3 policy.db "PRAGMA writable_schema=1; UPDATE sqlite_master SET sql=sql||' $end' WHERE name='ip_range'"
    run export sql; ends "an open comment $end" 3; says "an open comment $end" "or has no end"; silent "an open comment $end" COMMIT
done

# hostile texts as notes and logins, in every format
fresh
python3 - "$cases" <<'END'
import json, sqlite3, sys
db = sqlite3.connect("policy.db")
texts = []
for case in json.load(open(sys.argv[1] + "/hostile-strings.json"))["cases"]:
    octets = bytes.fromhex(case.get("hex", ""))
    if "repeat_to" in case:
        octets = (bytes.fromhex(case.get("prefix_hex", "")) + octets * (case["repeat_to"] // max(1, len(octets)) + 1))[:case["repeat_to"]]
    texts.append(octets)
texts += [b"a\n.shell touch hit\n", b"';\n.shell touch hit\n--", b"\n192.0.2.0/24 OK\n", b"}\nflush ruleset\n", b"'); DROP TABLE identity; --",
          b"a\x1b[2Jb", "\u202eabc\u2028\u0085x".encode(), b"\n" * 2000, b"\xff\xfe'", b"'" * 100, "京都 'の' 関所".encode(), b"", b"'", b"\n", b"x\n", b"\nx"]
for n, text in enumerate(texts):
    text = text.replace(b"\0", b"")
    db.execute("INSERT INTO ip_range(range,source,note) VALUES(?,NULL,CAST(? AS TEXT))", (f"10.9.{n >> 8}.{n & 255}", text))
    for table, column in (("identity", "name"), ("ip_range", "source")):
        try:
            if table == "identity": db.execute("INSERT INTO identity(name) VALUES(CAST(? AS TEXT))", (text,))
            else: db.execute("INSERT INTO ip_range(range,source) VALUES(?,CAST(? AS TEXT))", (f"10.8.{n >> 8}.{n & 255}", text))
        except sqlite3.IntegrityError: pass
db.commit()
END
run check
if [ "$ended" != 0 ]; then  # what the program refuses of them
    grep -o '^identity [0-9]*' out | sort -u | while read -r _ id; do echo "DELETE FROM identity WHERE id=$id;"; done | db policy.db
    grep -o '^ip_range [0-9]*' out | sort -u | while read -r _ id; do echo "DELETE FROM ip_range WHERE id=$id;"; done | db policy.db
fi
while run check; [ "$ended" = 3 ] && id=$(grep -o '^identity [0-9]*' out | head -1 | cut -d' ' -f2) && [ -n "$id" ]; do
    db policy.db "DELETE FROM identity WHERE id=$id"
done
as_before "hostile texts"
for format in nft ipset postfix-cidr; do
    run export $format; ends "hostile texts: $format" 0
    if LC_ALL=C grep -q '[^[:print:][:space:]]' out; then fail "hostile texts: raw octets in $format"; else pass; fi
    if grep -qvE '^$|^#|^(add|flush|create|swap|destroy) |^table inet sekisho \{$|^	+(set |type |flags |elements |[0-9a-f.:/-]+,$|\}$)|^\}$|^[0-9a-f.:/]+ (DUNNO|REJECT |DEFER )' out
    then fail "hostile texts: $format: $(grep -vE '^#' out | head -3)"; else pass; fi
done
run export nft
case " ${kernels[*]} " in *" nft "*) if $apart nft -f out > said 2>&1; then pass; else fail "hostile texts: nft: $(cat said)"; fi ;; esac

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
