# SPDX-License-Identifier: Apache-2.0
# Names the failed cases of junit files, each with the first lines of its reason
#
# A program's own output is its reason where the report has no other: of that, the
# lines that say what was wrong, or the last ones. A case is a line that starts in
# the first column, its reason's lines are indented.
#
# usage: awk -v runner=NAME -f failed.awk FILE...
BEGIN { RS = "<"; FS = ">" }

function attribute(name,    text) {
	if (!match($1, " " name "=\"[^\"]*\""))
		return ""
	text = substr($1, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
	return plain(text)
}

function plain(text) {
	gsub(/&lt;/, "<", text)
	gsub(/&gt;/, ">", text)
	gsub(/&quot;/, "\"", text)
	gsub(/&apos;/, "'", text)
	gsub(/&amp;/, "\\&", text)
	gsub(/\033\[[0-9;]*m/, "", text)
	return text
}

# The record's text, which may have a ">" of its own
function text() { return plain(substr($0, length($1) + 2)) }

# Says the first lines, but the runners' own of a stack trace
function say(reason, most,    lines, n, i) {
	n = split(reason, lines, "\n")
	for (i = 1; i <= n && most > 0; i++)
		if (lines[i] ~ /[^ \t]/ && lines[i] !~ /eunit_(test|proc):|test_server/) {
			print "    " lines[i]
			most--
		}
}

function telling(output,    lines, n, i, found, most) {
	n = split(output, lines, "\n")
	for (i = 1; i <= n && most < 4; i++)
		if (lines[i] ~ /not so:|runtime error:|ERROR: |SUMMARY: |[Tt]imeout/) {
			found = found lines[i] "\n"
			most++
		}
	for (i = n > 4 ? n - 4 : 1; i <= n && !most; i++)
		found = found lines[i] "\n"
	say(found, 4)
}

$1 ~ /^testsuite / { suite = attribute("name") }
$1 ~ /^testcase / {
	name = attribute("name")
	class = attribute("classname")
	bad = 0
	reason = output = ""
}
$1 ~ /^(failure|error)( |\/?$)/ {
	bad = 1
	reason = text()
	if (reason !~ /[^ \t\n]/)
		reason = attribute("message")
}
$1 ~ /^system-out/ { output = text() }
$1 ~ /^\/testcase/ && bad {
	print (class != "" && class != name ? class : suite == "(empty)" ? runner : suite) ": " name
	if (reason ~ /[^ \t\n]/)
		say(reason, 4)
	if (output ~ /[^ \t\n]/)
		telling(output)
	bad = 0
}
