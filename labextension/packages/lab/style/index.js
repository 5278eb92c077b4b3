import '@prefect-nb/view/style/view.css';
import './cells.css';
