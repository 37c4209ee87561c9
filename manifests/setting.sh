#!/usr/bin/env bash
# Prints the value of KEY in a settings.env, or nothing: by this, make and deploy.sh read what `datum` reads
# itself. Lines may end as Windows ends them. What one of the three would read otherwise than the others is
# refused, with status 2 and in one line, as `datum` refuses it.
#
#   manifests/setting.sh FILE KEY
set -euo pipefail
export LC_ALL=C

file=$1
wanted=$2
number=0
shells=" NAMESPACE KFP_NAMESPACE STORE_ENDPOINT STORE_SECRET PIPELINE_ROOT REGISTRY TAG " # keys that make and deploy.sh read
seen=" "
value=""

refuse() { # FOUND EXPECTED
  echo "$file:$number: found ${1//[[:cntrl:]]/?}, expected $2" >&2
  exit 2
}

[[ -r $file ]] || refuse "no file that can be read" "an overlay's settings.env"
while IFS= read -r line || [[ -n $line ]]; do
  number=$((number + 1))
  line=${line%$'\r'}
  if [[ $number == 1 ]]; then
    line=${line#$'\xef\xbb\xbf'} # the byte order mark of some editors
  fi
  if [[ $line =~ ^[[:space:]]*(#.*)?$ ]]; then
    continue
  fi
  key=${line%%=*}
  text=${line#*=}
  if [[ ! $line =~ ^[A-Z_]+= ]]; then
    refuse "'$line'" "KEY=VALUE, the key in capitals and without blanks around it"
  elif [[ $text =~ ^[[:space:]] || $text =~ [[:space:]]$ || $text =~ [[:cntrl:]] ]]; then
    refuse "$key='$text'" "a value without blanks around it"
  elif [[ $text == \"* || $text == \'* ]]; then
    refuse "$key=$text" "a value without quotes around it"
  elif [[ $seen == *" $key "* ]]; then
    refuse "$key twice" "each key once"
  fi
  if [[ $shells == *" $key "* && $text == *[^][A-Za-z0-9._:/@-]* ]]; then
    refuse "$key=$text" "letters, digits and . _ : / @ - alone"
  fi
  seen+="$key "
  if [[ $key == "$wanted" ]]; then
    value=$text
  fi
done <"$file"
echo "$value"
