#!/bin/sh
# Runs `make clients-NAME` for each name given, and prints how many scenarios of each client ended well. What is not installed is
# said, and is no failure. The output of each is kept in .cache/clients-NAME.log.
mkdir -p .cache
: >.cache/clients-table
failed=0
for name; do
  case $name in
  java | connect | tools) needs="java mvn" ;;
  python) needs=python3 ;;
  node) needs=npm ;;
  carry) needs=kcat ;;
  *) needs=go ;;
  esac
  missing=
  for program in $needs; do
    command -v "$program" >/dev/null || missing="$missing $program"
  done
  if [ -n "$missing" ]; then
    echo "clients-$name|not run: lacks$missing" >>.cache/clients-table
    continue
  fi
  log=.cache/clients-$name.log
  echo "clients-$name runs; its output is in $log"
  ended=ok
  "${MAKE:-make}" "clients-$name" >"$log" 2>&1 || ended=FAILED failed=1
  # Scenarios print `ok CLIENT/NAME` or `FAIL CLIENT/NAME`; Go tests that are none of them count for their target.
  awk -v target="clients-$name" -v ended="$ended" '
    $1 == "ok" && $2 ~ "/" && $2 !~ "^weir/" { split($2, part, "/"); ok[part[1]]++; all[part[1]] }
    $1 == "FAIL" && $2 ~ "/" && $2 !~ "^weir/" { split($2, part, "/"); bad[part[1]]++; all[part[1]] }
    $1 == "---" && $2 == "PASS:" { ok["tests of " target]++; all["tests of " target] }
    $1 == "---" && $2 == "FAIL:" { bad["tests of " target]++; all["tests of " target] }
    END {
      for (client in all) printf "%s|%d ok, %d failed\n", client, ok[client], bad[client] | "sort"
      close("sort")
      if (ended != "ok") printf "%s|%s\n", target, ended
    }' "$log" >>.cache/clients-table
done
echo
awk -F'|' '{ printf "%-24s %s\n", $1, $2 }' .cache/clients-table
exit $failed
