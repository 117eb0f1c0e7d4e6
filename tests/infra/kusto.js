// Reads {"tables": {name: "(column: type, ...)"}, "queries": {name: text}} and answers {name: [what Microsoft's own
// parser has against the query]}: syntax, and names of tables, columns and functions that are not there.
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');

const { KustoCode, GlobalState, Symbols } = Kusto.Language;
const { tables, queries } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const symbols = Object.entries(tables).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('workspace', symbols));

function complaints(query) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, i) => found.getItem(i).Message);
}

console.log(JSON.stringify(Object.fromEntries(Object.entries(queries).map(([name, query]) => [name, complaints(query)]))));
