/** Who may know whom: the import boundaries, and that they were really looked at. */
import { cruise } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import rules from '../../.dependency-cruiser.cjs';

const { options, ...ruleSet } = rules;
const tsConfig = extractTSConfig('tsconfig.json');
const { output } = await cruise(
  ['functions', 'shared', 'scheduled'],
  { ...options, ruleSet, validate: true },
  undefined,
  { tsConfig },
);
const { violations, totalCruised } = output.summary;
for (const { rule, from, to } of violations) console.error(`${rule.name}: ${from} → ${to}`);
// A parser that understands nothing finds nothing wrong.
const own = output.modules.filter(({ source }) => /^(functions|shared|scheduled)\//.test(source)).length;
if (own < 50)
  throw new Error(`Only ${own} modules were looked at: the checker does not read this code any more.`);
console.log(
  `${own} modules keep to their floors (${totalCruised} looked at, ${violations.length} violations)`,
);
process.exitCode = violations.length > 0 ? 1 : 0;
