/**
 * Builds everything that the Python package ships for browsers, into ../prefect_nb:
 * static/widget.js and widget.css, the prebuilt lab extension, and static/build.json with a digest of the sources.
 * The outputs are committed, so that an installation from a clone needs no Node; a test compares the digest.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const out = resolve(root, '../prefect_nb');
const require = createRequire(import.meta.url);
const node = (script, ...args) => execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });

const packages = ['view', 'widget', 'lab'];
for (const name of packages) {
  rmSync(join(root, 'packages', name, 'lib'), { recursive: true, force: true });
}
node(require.resolve('typescript/bin/tsc'), '-b', ...packages.map(name => `packages/${name}`));

const widget = { bundle: true, minify: true, legalComments: 'none', target: 'es2022', absWorkingDir: root };
mkdirSync(join(out, 'static'), { recursive: true });
await build({
  ...widget,
  entryPoints: ['packages/widget/lib/index.js'],
  format: 'esm',
  outfile: join(out, 'static/widget.js')
});
await build({ ...widget, entryPoints: ['packages/view/style/view.css'], outfile: join(out, 'static/widget.css') });

rmSync(join(out, 'labextension'), { recursive: true, force: true });
node(
  join(dirname(require.resolve('@jupyter/builder/package.json')), 'lib/build-labextension.js'),
  '--core-package-file',
  require.resolve('@jupyterlab/core-meta/core.package.json'),
  'packages/lab'
);

function files(folder) {
  if (!existsSync(folder)) {
    return [];
  }
  return readdirSync(folder).flatMap(name => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}
const sources = [
  join(root, 'package.json'),
  ...packages.flatMap(name => [
    join(root, 'packages', name, 'package.json'),
    ...['src', 'style', 'schema'].flatMap(folder => files(join(root, 'packages', name, folder)))
  ])
];
const hash = createHash('sha256');
for (const path of sources.map(path => relative(root, path).split(sep).join('/')).sort()) {
  hash.update(`${path}\0`);
  hash.update(readFileSync(join(root, path)));
  hash.update('\0');
}
writeFileSync(join(out, 'static/build.json'), `${JSON.stringify({ sources: hash.digest('hex') }, null, 2)}\n`);
