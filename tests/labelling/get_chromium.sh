#!/bin/sh
# Brings the browser that tests the labelling page: Debian's Chromium, where it is missing and where it may
# be installed. Where it may not, those tests say why they are skipped (and fail under CI=true).
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
command -v apt-get >/dev/null || { echo "no chromium, and no apt to bring it: the page is not tested"; exit 0; }
if [ "$(id -u)" = 0 ]; then
    as=""
elif sudo -n true 2>/dev/null; then
    as="sudo -n"
else
    echo "no chromium, and no right to install it (apt-get install chromium): the page is not tested"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
$as apt-get update -qq && $as apt-get install --yes -qq --no-install-recommends chromium >/dev/null ||
    echo "chromium could not be installed: the page is not tested"
